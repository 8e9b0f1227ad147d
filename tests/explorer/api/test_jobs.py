"""Starting and cancelling jobs through the API: the form of the page decides, and nothing is half
done.
"""

import pytest

from explorer.models import ApiKey
from features.jobs import execution as job_execution
from features.jobs import lifecycle
from features.jobs.forms import JOB_FORMS
from features.models import Job
from tests import builders

pytestmark = pytest.mark.django_db
TRAIN = {
    "model": "tiny",
    "slug": "new",
    "corpus": "tiny-stories",
    "hook": "blocks.2.hook_resid_post",
}


@pytest.fixture
def post(client):
    """Post to an address below /api/v1/ as Ada, who is staff, or as `by`."""
    ada, ben, _cam = builders.cast()
    keys = {user.username: ApiKey.create(user, "test")[1] for user in (ada, ben)}

    def send(path, data=None, by="ada"):
        extra = {"HTTP_AUTHORIZATION": f"Bearer {keys[by]}"} if by else {}
        return client.post(f"/api/v1/{path}", data, content_type="application/json", **extra)

    return send


def refused(response):
    assert response.status_code == 400
    assert not Job.objects.exists()
    error = response.json()["error"]
    assert error["code"] == "invalid"
    assert all(field in error["message"] for field in error["fields"])
    return error["fields"]


def test_a_job_starts_with_defaults_and_its_followers(post):
    builders.planted()
    response = post("jobs/", {"kind": "train_sae", "params": TRAIN})
    assert response.status_code == 201
    job = response.json()
    assert (job["state"], job["share"], job["created_by"]) == ("queued", 0.0, "ada")
    assert job["params"]["width"] == JOB_FORMS["train_sae"].base_fields["width"].initial
    kinds = [(j.kind, j.state, j.after_id) for j in Job.objects.order_by("id")]
    assert kinds[0] == ("train_sae", "queued", None)
    assert kinds[1][:2] == ("compute_dashboards", "waiting")


def test_params_are_the_very_same_as_the_forms(post):
    builders.planted()
    post("jobs/", {"kind": "train_sae", "params": TRAIN | {"then": False, "width": "64", "k": 8}})
    job = Job.objects.get()
    form = JOB_FORMS["train_sae"](TRAIN | {"slug": "other", "then": False, "width": 64, "k": 8})
    assert form.is_valid()
    assert job.params == form.params() | {"slug": "new"}


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"width": 0}, "width"),
        ({"width": 2**70}, "width"),
        ({"width": 1.5}, "width"),
        ({"width": True}, "width"),
        ({"width": [64, [65]]}, "width"),
        ({"tokens": [64]}, "tokens"),
        ({"width": {"a": 1}}, "width"),
        ({"model": "absent"}, "model"),
        ({"corpus": "absent"}, "corpus"),
        ({"hook": "blocks.9.hook_resid_post"}, "hook"),
        ({"slug": "2-res"}, "slug"),
        ({"slug": "Große Worte"}, "slug"),
        ({"slug": "a\0b"}, "slug"),
        ({"hook": "a\0b"}, "hook"),
        ({"architecture": "perceptron"}, "architecture"),
        ({"k": 5000}, "k"),
        ({"context_size": 257}, "context_size"),
        ({"learning_rate": "NaN"}, "learning_rate"),
        ({"then": "no"}, "then"),
        ({"then": None}, "then"),
        ({"widht": 64}, "widht"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(post, params, field):
    builders.planted()
    assert list(refused(post("jobs/", {"kind": "train_sae", "params": TRAIN | params}))) == [
        f"params.{field}"
    ]


def test_a_missing_setting_is_named(post):
    fields = refused(post("jobs/", {"kind": "train_sae", "params": {}}))
    assert {"params.model", "params.slug", "params.corpus", "params.hook"} == fields.keys()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "kind"),
        ({"kind": "dance", "params": {}}, "kind"),
        ({"kind": ["train_sae"], "params": {}}, "kind"),
        ({"kind": "add_model", "params": []}, "params"),
        ({"kind": "add_model", "params": "slug"}, "params"),
        ([], "body"),
        ("kind", "body"),
        (1, "body"),
        (None, "body"),
    ],
)
def test_a_body_of_another_shape_is_refused(post, body, field):
    import json

    assert field in refused(post("jobs/", json.dumps(body)))


def test_staff_and_who_started_it_may_cancel(post):
    from explorer.models import User

    ben = User.objects.get(username="ben")
    own, other = lifecycle.create("add_corpus", {}, by=ben), lifecycle.create("add_corpus", {})
    assert post(f"jobs/{other.pk}/cancel/", by="ben").status_code == 403
    assert post(f"jobs/{other.pk}/cancel/", by=None).status_code == 401
    assert post(f"jobs/{own.pk}/cancel/", by="ben").json()["state"] == "cancelled"
    assert post(f"jobs/{other.pk}/cancel/").json()["state"] == "cancelled"


def test_a_running_job_is_asked_to_stop(post):
    job = job_execution.claim(lifecycle.create("add_corpus", {}).pk, "here")
    for _ in range(2):  # asking twice is no error
        answer = post(f"jobs/{job.pk}/cancel/")
        assert answer.status_code == 200
        assert (answer.json()["state"], answer.json()["cancel_requested"]) == ("running", True)


def test_a_job_that_is_over_cannot_be_cancelled(post):
    job = job_execution.claim(lifecycle.create("add_corpus", {}).pk, "here")
    job_execution.finish(job, {"corpus": "a"})
    response = post(f"jobs/{job.pk}/cancel/")
    assert response.status_code == 409
    assert response.json()["error"]["code"] == "conflict"
    assert Job.objects.get().state == "finished"


def test_a_failed_job_tells_its_field(post, client):
    job = job_execution.claim(lifecycle.create("add_corpus", {}).pk, "here")
    job_execution.fail(job, "There is no such folder.", "source")
    told = client.get(f"/api/v1/jobs/{job.pk}/").json()
    assert (told["state"], told["error"], told["error_field"]) == (
        "failed",
        "There is no such folder.",
        "source",
    )


@pytest.mark.parametrize(
    "sae", [["tiny/2-res", "tiny/1-res"], "tiny/2-res tiny/1-res", "tiny/2-res, tiny/1-res"]
)
def test_dashboards_of_several_saes_are_asked_for_as_a_list_or_a_text(post, sae):
    planted = builders.planted()
    builders.sae(planted.model, "1-res")
    body = {
        "kind": "compute_dashboards",
        "params": {"sae": sae, "corpus": "tiny-stories", "shards": 2},
    }
    job = post("jobs/", body).json()
    assert (job["params"]["sae"], job["params"]["shards"], job["state"]) == (
        "tiny/2-res tiny/1-res",
        2,
        "waiting",
    )
    parts = Job.objects.filter(part_of=job["id"])
    assert [(part.state, part.params["sae"]) for part in parts] == [
        ("queued", "tiny/2-res tiny/1-res")
    ] * 2
    assert post(f"jobs/{parts[0].pk}/cancel/").json()["state"] == "cancelled"
    assert set(Job.objects.values_list("state", flat=True)) == {"cancelled"}


@pytest.mark.parametrize(
    "sae", [[], "", ["tiny/2-res", "tiny/none"], ["tiny/2-res", ["tiny/1-res"]], {"a": 1}]
)
def test_saes_that_make_no_job_are_refused_by_name(post, sae):
    builders.planted()
    body = {"kind": "compute_dashboards", "params": {"sae": sae, "corpus": "tiny-stories"}}
    assert list(refused(post("jobs/", body))) == ["params.sae"]
