"""The page of published SAEs, the start page it leads to, the same in the API, and an imported
SAE's page.
"""

import pytest

from features.models import Job
from features.records import TrainedSae
from features.services import catalog as catalog_services
from tests import builders
from tests.page import Page

pytestmark = pytest.mark.django_db
SOURCE = "gpt2-small-res-jb:blocks.6.hook_resid_pre"
RIGHT = {
    "model": "gpt2-small",
    "slug": "theirs",
    "source": SOURCE,
    "corpus": "stories",
    "then": "on",
}
NEW = "/jobs/new/add_sae/"


@pytest.fixture
def gpt2():
    builders.corpus()
    return builders.model(
        "gpt2-small", hooks=[f"blocks.{n}.hook_resid_pre" for n in range(12)], layers=12
    )


@pytest.fixture
def ada(client):
    ada, *_ = builders.cast()
    client.force_login(ada)
    return ada


def imported(model, **origin):
    """An imported SAE whose test went badly."""
    record = TrainedSae(
        "",
        "ab" * 32,
        "standard",
        64,
        8,
        "blocks.2.hook_resid_post",
        128,
        {"d_in": 64, "metadata": {"x": 1}},
        {},
    )
    told = {
        "kind": "folder",
        "source": "/home/ada/secret/their-sae",
        "model_name": "gpt2-small",
        "dtype": "bfloat16",
        "hook_name": "blocks.2.hook_resid_pre",
        "decoder_norms": [0.5, 1.0, 2.0],
        "notes": ["Taken for gpt2."],
        "warnings": ["It explains -12% of the variance."],
        "test": {
            "tokens": 4096,
            "corpus": "stories",
            "values": {"explained_variance": -0.12, "l0": 31.4},
        },
        **origin,
    }
    return catalog_services.add_sae(model, "theirs", record, "saes/x", None, None, told)


def test_everybody_may_browse_and_every_release_is_there(client):
    html = Page(client.get("/registry/"))
    assert "13,857 SAEs in 170 releases" in html.replace("\n", "")
    assert html.has('a[href="?release=gpt2-small-res-jb"]')
    assert html.has("#results td", "cannot be imported: its weights are a pickle")
    assert NEW not in html


def test_an_sae_says_whether_its_model_is_here_and_leads_to_a_form_filled_in(
    client, ada, gpt2, django_assert_max_num_queries
):
    with django_assert_max_num_queries(5):
        html = Page(client.get("/registry/?q=gpt2+res-jb+6.hook"))
    assert html.has('a[href="/gpt2-small/"]')
    url = html.split(f'href="{NEW}')[1].split('"')[0].replace("&amp;", "&")
    form = client.get(NEW + url).context["form"]
    values = {
        name: form[name].value() for name in ("model", "slug", "source", "corpus", "hook", "anyway")
    }
    slug = "gpt2-small-res-jb.blocks.6.hook_resid_pre"
    assert values == {
        "model": "gpt2-small",
        "slug": slug,
        "source": SOURCE,
        "corpus": "stories",
        "hook": None,
        "anyway": False,
    }
    away = Page(client.get("/registry/?q=gemma-scope-2-1b-pt-res-all+layer_12"))
    assert away.has("#results td", "not installed")
    assert "/jobs/new/add_model/?source=google%2Fgemma-3-1b-pt" in away


def test_what_is_not_there_is_said_and_what_is_wrong_is_said_beside(client):
    assert Page(client.get("/registry/?q=zzzz")).has("#results p", "No published SAE matches")
    for query in ("layer=many", "layer=-1", "site=nowhere", "model=nope", "start=x"):
        response = client.get(f"/registry/?{query}")
        assert (response.status_code, "errorlist" in Page(response)) == (200, True), query


def test_pages_follow_one_another_and_htmx_gets_rows_only(client):
    first = client.get("/registry/?release=gemma-scope-2b-pt-res")
    assert Page(first).count("<tr>") == 51  # 50 and the heading
    more = client.get(
        "/registry/?release=gemma-scope-2b-pt-res&start=50",
        headers={"HX-Request": "true", "HX-Target": "more"},
    )
    assert "<html" not in Page(more)
    assert Page(more).count("<tr>") == 50


def test_the_api_lists_the_same(client, gpt2):
    answer = client.get("/api/v1/registry/?q=gpt2+res-jb+6.hook").json()
    (row,) = answer["results"]
    assert (row["source"], row["here"], row["hook"], row["refusal"]) == (
        SOURCE,
        "gpt2-small",
        "blocks.6.hook_resid_pre",
        "",
    )
    listed, address = 0, "/api/v1/registry/?release=gemma-scope-2b-pt-res&limit=200"
    while address:
        page = client.get(address).json()
        listed, address = listed + len(page["results"]), page["next"]
    assert listed == 316
    assert client.get("/api/v1/registry/?site=nowhere").json()["error"]["fields"].keys() == {"site"}


def test_start_queues_the_import_with_what_follows_it(client, ada, gpt2):
    response = client.post(NEW, RIGHT)
    assert response.status_code == 302, response.context["form"].errors
    first, *rest = Job.objects.order_by("id")
    assert (first.kind, first.params["source"], first.params["anyway"]) == (
        "add_sae",
        SOURCE,
        False,
    )
    assert {"compute_dashboards", "evaluate_sae"} <= {job.kind for job in rest}
    again = client.post(NEW, RIGHT).context["form"].errors
    assert "or a job is making it" in str(again["slug"])


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("source", "gpt2-small-res-jp:blocks.6.hook_resid_pre", "Did you mean “gpt2-small-res-jb”"),
        (
            "source",
            "gpt2-small-res-jb:blocks.66.hook_resid_pre",
            "Did you mean “blocks.6.hook_resid_pre”",
        ),
        ("source", "goodfire-llama-3.1-8b-instruct:layer_19", "its weights are a pickle"),
        ("source", "nonsense", "Write the path of a folder"),
        ("source", "", "required"),
        ("subfolder", "../../etc", "inside the repository"),
        ("hook", "blocks.99.hook_resid_pre", "gpt2-small has no hook"),
        ("model", "nope", "There is no model “nope”"),
        ("corpus", "nope", "There is no corpus “nope”"),
        ("slug", "No Good", "small letters"),
    ],
)
def test_a_wrong_setting_is_refused_beside_its_field_and_nothing_is_queued(
    client, ada, gpt2, field, value, said
):
    response = client.post(NEW, RIGHT | {field: value})
    errors = response.context["form"].errors
    assert (response.status_code, list(errors)) == (422, [field])
    assert said in str(errors[field]).replace("&quot;", '"')
    assert not Job.objects.exists()


def test_an_empty_corpus_is_the_only_one_or_the_last_used_with_the_model(client, ada, gpt2):
    client.post(NEW, RIGHT | {"corpus": "", "then": ""})
    assert Job.objects.get().params["corpus"] == "stories"
    for slug in ("other", "python-stdlib"):
        builders.corpus(slug)
    client.post(NEW, RIGHT | {"corpus": "", "slug": "second", "then": ""})
    assert Job.objects.latest("id").params["corpus"] == "stories"
    Job.objects.all().delete()
    refused = client.post(NEW, RIGHT | {"corpus": "", "slug": "third"})
    assert "Choose one: other, python-stdlib, stories" in str(
        refused.context["form"].errors["corpus"]
    )


def test_an_imported_saes_page_shows_the_warning_the_test_and_no_path(client, gpt2):
    imported(gpt2)
    html = Page(client.get("/gpt2-small/theirs/"))
    assert html.has("[role=alert]", "Warning. It explains -12% of the variance.")
    assert "in its test, on 4.1k tokens of stories" in html.replace("\n", "")
    assert html.has("#main p", "Taken for gpt2.")
    assert html.has("#main dd", "their-sae")
    answer = client.get("/api/v1/saes/gpt2-small/theirs/").json()
    assert answer["origin"]["warnings"] == ["It explains -12% of the variance."]
    assert answer["origin"]["source"] == "their-sae"
    assert "/home/ada" not in html + str(answer)


def test_a_finished_imports_page_shows_its_warnings(client, gpt2):
    result = {
        "sae": "gpt2-small/theirs",
        "explained_variance": -0.12,
        "l0": 31.4,
        "warnings": ["It explains -12%."],
    }
    from django.utils import timezone

    job = Job.objects.create(
        kind="add_sae",
        params=RIGHT,
        queue="jobs",
        state="finished",
        ended=timezone.now(),
        result=result,
    )
    html = Page(client.get(f"/jobs/{job.pk}/"))
    assert html.has("[role=alert]", "Warning. It explains -12%.")
    assert html.has("#live dt", "Explained variance")
