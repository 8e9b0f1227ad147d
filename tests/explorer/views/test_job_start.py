"""The start page: who may see it, what it proposes, what it refuses, and what it queues."""

import pytest

from features.models import Job, JobEvent
from features.services.jobs import start
from tests import builders
from tests.page import Page

pytestmark = pytest.mark.django_db
RIGHT = {
    "model": "tiny",
    "slug": "mine",
    "corpus": "tiny-stories",
    "hook": "blocks.2.hook_resid_post",
    "architecture": "topk",
    "width": "512",
    "k": "24",
    "sparsity": "",
    "tokens": "1000000",
    "context_size": "128",
    "learning_rate": "",
    "seed": "0",
    "then": "on",
}
TRAIN = "/jobs/new/train_sae/"


@pytest.fixture
def planted():
    return builders.planted()


@pytest.fixture(autouse=True)
def ada(client):
    ada, *_ = builders.cast()
    client.force_login(ada)
    return ada


def test_a_visitor_is_sent_to_sign_in_and_a_member_is_refused_kindly(client):
    from explorer.models import User

    client.force_login(User.objects.get(username="ben"))
    for url in ("/jobs/new/", TRAIN):
        response = client.get(url)
        assert response.status_code == 403
        assert client.post(url, RIGHT).status_code in (403, 405)
    client.logout()
    assert client.get(TRAIN).headers["Location"] == f"/accounts/login/?next={TRAIN}"
    assert not Job.objects.exists()


def test_every_kind_can_be_chosen_and_opened_on_an_empty_instance(client):
    html = Page(client.get("/jobs/new/"))
    for kind in (
        "train_sae",
        "add_sae",
        "compute_dashboards",
        "evaluate_sae",
        "add_model",
        "add_corpus",
    ):
        assert html.has(f'a[href="/jobs/new/{kind}/"]')
        assert client.get(f"/jobs/new/{kind}/").status_code == 200


def test_the_form_proposes_the_middle_of_the_model_eight_times_its_width_and_a_free_slug(
    client, planted
):
    form = client.get(TRAIN).context["form"]
    proposed = {
        name: form[name].value()
        for name in ("model", "corpus", "hook", "width", "slug", "context_size")
    }
    assert proposed == {
        "model": "tiny",
        "corpus": "tiny-stories",
        "hook": "blocks.2.hook_resid_post",
        "width": 512,
        "slug": "2-res-topk",
        "context_size": 128,
    }


def test_a_nul_is_refused_beside_its_field(client, planted):
    assert client.get(f"{TRAIN}?model=%00").status_code == 200
    refused = client.post(TRAIN, RIGHT | {"model": "a\0"})
    assert (refused.status_code, list(refused.context["form"].errors)) == (422, ["model"])


def test_a_proposed_slug_avoids_those_of_jobs_under_way(client, planted):
    start("train_sae", RIGHT | {"slug": "2-res-topk"})
    assert client.get(TRAIN).context["form"]["slug"].value() == "2-res-topk-2"


def test_every_field_is_explained_and_rows_are_chosen_from_a_list(client, planted):
    html = Page(client.get(TRAIN))
    for field in client.get(TRAIN).context["form"]:
        assert field.help_text, field.name
        assert html.has(f'small[id="id_{field.name}_helptext"]')
    for name in ("model", "corpus", "hook", "architecture"):
        assert html.has(f'select[name="{name}"]')
    assert html.has("#id_hook option", "Residual stream after layer 2")


def test_another_model_brings_its_own_hooks_and_sizes_and_keeps_a_slug_of_ones_own(client, planted):
    builders.model(
        "other",
        layers=2,
        d_model=16,
        context_size=64,
        hooks=["blocks.0.hook_mlp_out", "blocks.1.hook_mlp_out"],
    )
    data = RIGHT | {"model": "other", "recheck": "model", "tokens": "123456"}
    response = client.post(TRAIN, data, headers={"HX-Request": "true"})
    html, form = Page(response), response.context["form"]
    assert "<html" not in html
    assert html.has("#id_hook option", "MLP output of layer 1")
    assert "Residual stream" not in html.replace("residual stream, MLP", "")
    assert {
        n: str(form[n].value()) for n in ("hook", "width", "context_size", "slug", "tokens")
    } == {
        "hook": "blocks.1.hook_mlp_out",
        "width": "128",
        "context_size": "64",
        "slug": "mine",
        "tokens": "123456",
    }
    assert "<html" in Page(client.post(TRAIN, data)), (
        "without JavaScript the whole page comes again"
    )
    assert not Job.objects.exists()


def test_a_proposed_slug_follows_the_architecture(client, planted):
    data = RIGHT | {"architecture": "gated", "slug": "2-res-topk", "recheck": "architecture"}
    assert client.post(TRAIN, data).context["form"]["slug"].value() == "2-res-gated"


def test_the_estimate_follows_the_fields_and_says_where_it_comes_from(client, planted):
    def estimate(**changes):
        data = RIGHT | {"recheck": "estimate"} | changes
        return Page(client.post(TRAIN, data, headers={"HX-Request": "true"}))

    html = estimate()
    assert html.has(
        "#estimate dd", "about 55 s"
    )  # (2 x 3,456,789 x 3/4 + 12 x 64 x 512) x 1e6 / 1e11, to five seconds
    assert html.has("#estimate dd", "1,000,000")
    assert html.has("#estimate p", "no job of this kind has finished here yet")
    assert "id_model" not in html
    assert estimate(tokens="2000000").has("#estimate dd", "about 110 s")
    assert estimate(tokens="many").has(
        "#estimate p", "An estimate appears when the settings are complete"
    )
    assert estimate(model="nope").has(
        "#estimate p", "An estimate appears when the settings are complete"
    )


def test_start_queues_the_job_with_those_that_follow_it_and_shows_it(client, ada, planted):
    response = client.post(TRAIN, RIGHT)
    first, shown, mapped, evaluated, labelled = Job.objects.order_by("id")
    assert response.headers["Location"] == f"/jobs/{first.pk}/"
    assert (first.kind, first.state, first.created_by) == ("train_sae", "queued", ada)
    assert first.params["width"] == 512
    assert (shown.kind, shown.after, shown.state) == ("compute_dashboards", first, "waiting")
    assert (mapped.kind, mapped.after) == ("map_sae", shown)
    assert (evaluated.kind, evaluated.after) == ("evaluate_sae", shown)
    assert (labelled.kind, labelled.after) == ("label_sae", shown)


@pytest.mark.parametrize(
    ("kind", "data"), [("train_sae", RIGHT), ("add_sae", {"model": "tiny", "source": "a/b"})]
)
def test_a_hook_that_was_found_inexact_is_refused_with_the_reason(client, planted, kind, data):
    planted.model.hook_refusals = {"blocks.1.mlp.hook_in": "This block has no MLP."}
    planted.model.save()
    response = client.post(f"/jobs/new/{kind}/", data | {"hook": "blocks.1.mlp.hook_in"})
    (error,) = response.context["form"].errors["hook"]
    assert error.startswith("tiny has no hook “blocks.1.mlp.hook_in”. This block has no MLP.")
    assert "It has blocks.0.hook_resid_post to blocks.3.hook_resid_post." in error
    assert not Job.objects.exists()


def test_a_box_that_is_not_ticked_means_no(client, planted):
    client.post(TRAIN, {name: value for name, value in RIGHT.items() if name != "then"})
    assert Job.objects.get().params["then"] is False


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("width", "0", "greater than or equal to 1"),
        ("width", "wide", "whole number"),
        ("width", "", "required"),
        ("model", "nope", "There is no model “nope”. Known: tiny."),
        ("corpus", "nope", "There is no corpus “nope”. Known: tiny-stories."),
        ("hook", "blocks.9.hook_resid_post", "tiny has no hook “blocks.9.hook_resid_post”"),
        ("k", "513", "at most the width"),
        ("k", "", "needs k"),
        ("k", "many", "whole number"),
        ("context_size", "512", "at most 256 tokens"),
        ("slug", "2-res", "already"),
        ("slug", "No Good", "small letters"),
        ("slug", "", "required"),
        ("tokens", "1e9", "whole number"),
        ("tokens", "10", "greater than or equal to 10000"),
        ("learning_rate", "fast", "number"),
        ("sparsity", "0", "greater than or equal to"),
        ("learning_rate", "nan", "number"),
        ("architecture", "magic", "not one of the available choices"),
        ("seed", "-1", "greater than or equal to 0"),
    ],
)
def test_a_wrong_setting_is_refused_beside_its_field_and_nothing_is_queued(
    client, planted, field, value, said
):
    response = client.post(TRAIN, RIGHT | {field: value})
    assert response.status_code == 422
    errors = response.context["form"].errors
    assert list(errors) == [field]
    assert said in str(errors[field])
    beside = (
        Page(response)
        .split(f'class="form-field form-field-{field}"')[1]
        .split('class="form-field ')[0]
    )
    assert "errorlist" in beside
    assert not Job.objects.exists()
    assert not JobEvent.objects.exists()


def test_a_wrong_hook_stays_visible_in_the_list_that_it_is_not_in(client, planted):
    html = Page(client.post(TRAIN, RIGHT | {"hook": "nope"}))
    assert html.has('select option[value="nope"][selected]', "nope (unknown)")


def test_a_form_without_any_field_is_refused_at_every_field_it_needs(client, planted):
    errors = client.post(TRAIN, {}).context["form"].errors
    assert {"model", "slug", "corpus", "hook"} <= set(errors)
    assert not Job.objects.exists()


def test_an_unknown_kind_is_a_404_and_queues_nothing(client):
    assert client.get("/jobs/new/make_coffee/").status_code == 404
    assert client.post("/jobs/new/make_coffee/", RIGHT).status_code == 404
    assert not Job.objects.exists()


@pytest.mark.parametrize("kind", ["evaluate_sae", "compute_dashboards"])
def test_jobs_on_an_sae_propose_the_newest_and_refuse_one_that_is_not_there(client, planted, kind):
    form = client.get(f"/jobs/new/{kind}/").context["form"]
    assert form["sae"].value() == "tiny/2-res"
    wrong = client.post(
        f"/jobs/new/{kind}/", {"sae": "tiny/nope", "corpus": "tiny-stories", "tokens": "5000"}
    )
    assert Page(wrong).has("#id_sae_error li", "There is no SAE “tiny/nope”")
    right = client.post(
        f"/jobs/new/{kind}/", {"sae": "tiny/2-res", "corpus": "tiny-stories", "tokens": "5000"}
    )
    assert right.status_code == 302
    assert Job.objects.order_by("id")[0].kind == kind


def test_the_admin_pages_list_everything_link_to_the_start_page_and_add_no_jobs(client, planted):
    from explorer.models import User

    client.force_login(User.objects.create_superuser("root", password="root-password-1"))
    job = start("train_sae", RIGHT)
    assert Page(client.get("/admin/")).has('a[href="/jobs/new/"]')
    tables = ["languagemodel", "corpus", "sae", "dashboard", "feature", "job", "jobevent"]
    for table in [f"features/{name}" for name in tables] + ["explorer/user", "explorer/apikey"]:
        assert client.get(f"/admin/{table}/").status_code == 200, table
    assert client.get("/admin/features/job/add/").status_code == 403
    assert client.get(f"/admin/features/job/{job.pk}/change/").status_code == 200
    client.post("/admin/features/job/", {"action": "cancel", "_selected_action": [job.pk]})
    job.refresh_from_db()
    assert job.state == "cancelled"


@pytest.mark.parametrize(("architecture", "unread"), [("topk", "sparsity"), ("gated", "k")])
def test_a_setting_that_the_architecture_does_not_read_is_not_kept(
    client, planted, architecture, unread
):
    client.post(TRAIN, RIGHT | {"architecture": architecture, "sparsity": "0.5", "k": "24"})
    params = Job.objects.get(kind="train_sae").params
    assert unread not in params
    assert params[{"k": "sparsity", "sparsity": "k"}[unread]] in (0.5, 24)
