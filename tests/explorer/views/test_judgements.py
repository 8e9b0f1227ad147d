"""A judged sweep on its page and in the API, and who may have one judged."""

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from features.models import Endpoint, Job, SteeringDelta, SteeringRun, SweepJudgement
from features.queue import messages
from features.records import WorkerState
from features.services import labels as label_services
from features.services import workers as worker_services
from features.steering import runs as steering_runs
from tests import builders
from tests.page import Page

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def planted(monkeypatch):
    worker_services.here("a:1", ["inference"], WorkerState("cpu", "0", 1, 1, 1, None, None))
    monkeypatch.setattr(messages.current_app, "send_task", lambda *args, **kwargs: None)
    return builders.planted()


@pytest.fixture
def people(planted):
    """Ada is staff, Ben a member; feature 0 has a label."""
    ada, ben, _ = builders.cast()
    label_services.propose(planted.feature(0), "the word <day>", by=ben, weight=1)
    return ada, ben


@pytest.fixture
def sweep(planted, people) -> SteeringRun:
    """The default and strengths 1, 2 and 3."""
    return builders.swept(planted)


def judged(run: SteeringRun, judge="wise-1", **changes) -> SweepJudgement:
    job = Job.objects.create(
        kind="judge_sweep",
        queue="jobs",
        params={"run": run.pk},
        state="finished",
        ended=timezone.now(),
    )
    said = {
        "label": "the word <day>",
        "concept": [0, 1, 2, None],
        "fluency": [2, 1, 0, 2],
        "unread": 1,
        "unasked": 0,
        "prompt_tokens": 1500,
        "completion_tokens": 90,
        "cost": 0.0125,
    }
    return SweepJudgement.objects.create(run=run, job=job, judge=judge, **(said | changes))


def page_of(client, run, query="") -> str:
    return Page(client.get(run.get_absolute_url() + query))


def test_scores_stand_beside_what_was_measured_with_who_said_so_and_at_what_cost(client, sweep):
    assert "judged" not in page_of(client, sweep)
    job = judged(sweep).job
    page = page_of(client, sweep)
    assert page.has(f'#dose a[href="/jobs/{job.pk}/"]', f"job {job.pk}")
    assert "Concept, judged by strength. 0×: 0; 1×: 1; 2×: 2; 3×: –." in page
    assert "Both, judged by strength. 0×: 0; 1×: 1; 2×: 0; 3×: –." in page
    assert re.findall(r"<summary>(.*?)</summary>", page) == [
        "Default · judged: concept 0, fluency 2, both 0",
        "1× · judged: concept 1, fluency 1, both 1",
        "2× · judged: concept 2, fluency 0, both 0",
        "3× · judged: concept –, fluency 2, both –",
    ]
    assert page.has("#judged", "wise-1 rated one text per strength")
    assert page.has("#judged", "for “the word <day>”")
    assert page.has("#judged", "Not judged: 1 answer that could not be read")
    assert page.has("#judged", "1,590 tokens, $0.013")
    assert page.has("#dose .lede", "best dose 2×"), "the judge moves no mark"


def test_a_missing_score_is_a_gap_in_the_line_and_never_a_zero(client, sweep):
    judged(sweep, concept=[2, None, 1, 1])
    page = page_of(client, sweep)
    chart = re.search(r'<svg[^>]*aria-label="Concept, judged.*?</svg>', page, re.DOTALL)[0]
    assert chart.count("<circle") == 3 + 1, "three scores and the best dose"
    assert len(re.findall(r'<path d="M', chart)) == 2


def test_of_several_judgements_the_newest_is_shown_and_the_others_can_be_chosen(client, sweep):
    first, _ = judged(sweep, judge="old-1"), judged(sweep, judge="new-1")
    page = page_of(client, sweep)
    assert page.has("#judged", "new-1 rated one text")
    assert page.has(f'a[href="?judged={first.pk}#judged"]')
    assert page_of(client, sweep, f"?judged={first.pk}").has("#judged", "old-1 rated one text")
    for wrong in ("?judged=0", "?judged=x", f"?judged={10**30}"):
        assert page_of(client, sweep, wrong).has("#judged", "new-1 rated one text")


def test_the_number_of_queries_does_not_grow_with_judgements(client, sweep):
    def queries() -> int:
        with CaptureQueriesContext(connection) as seen:
            page_of(client, sweep)
        return len(seen)

    judged(sweep)
    queries()  # reads tokens, which are kept
    few = queries()
    for _ in range(5):
        judged(sweep)
    assert queries() == few


def test_only_who_may_start_jobs_is_offered_the_form_and_only_endpoints_that_are_theirs(
    client, sweep, people
):
    ada, ben = people
    for slug, owner in (("shared", None), ("mine", ada), ("theirs", ben)):
        Endpoint.objects.create(slug=slug, base_url="http://127.0.0.1:9/v1", model="m", owner=owner)
    assert "Have these texts judged" not in page_of(client, sweep)
    client.force_login(ben)
    assert "Have these texts judged" not in page_of(client, sweep)
    client.force_login(ada)
    page = page_of(client, sweep)
    assert re.findall(r'<option value="([^"]+)">\w+ · m<', page) == ["mine", "shared"]
    assert f"/jobs/new/judge_sweep/?run={sweep.pk}" in page
    assert page.has("main", "At most 200,000 tokens or $1")


def test_the_form_starts_the_job_which_the_page_then_tells_of(client, sweep, people):
    Endpoint.objects.create(slug="shared", base_url="http://127.0.0.1:9/v1", model="m")
    client.force_login(people[0])
    response = client.post(f"/steer/{sweep.pk}/judge/", {"endpoint": "shared"})
    job = Job.objects.get(kind="judge_sweep")
    assert response.url == f"/jobs/{job.pk}/"
    assert (job.params["run"], job.params["endpoint"], job.params["most_tokens"]) == (
        sweep.pk,
        "shared",
        200_000,
    )
    page = page_of(client, sweep)
    assert page.has(".callout", f"Job {job.pk} is judging these texts")
    assert "Have these texts judged" not in page
    again = client.post(f"/steer/{sweep.pk}/judge/", {"endpoint": "shared"})
    assert again.status_code == 422
    assert Page(again).has("#result [role=alert]", "is judging it already")
    shown = Page(client.get(f"/jobs/{job.pk}/"))
    assert shown.has("h1", f"Judge sweep {sweep.pk}")
    assert shown.has(f'a[href="/steer/{sweep.pk}/"]')


@pytest.mark.parametrize("endpoint", ["", "nobody", "theirs", "a\0b"])
def test_an_endpoint_that_is_not_ones_own_is_refused_on_the_page(client, sweep, people, endpoint):
    Endpoint.objects.create(
        slug="theirs", base_url="http://127.0.0.1:9/v1", model="m", owner=people[1]
    )
    client.force_login(people[0])
    response = client.post(f"/steer/{sweep.pk}/judge/", {"endpoint": endpoint})
    assert response.status_code == 422
    assert "endpoint" in re.search(r'role="alert">(.*?)</p>', Page(response), re.DOTALL)[1]
    assert not Job.objects.filter(kind="judge_sweep").exists()


def test_members_and_visitors_start_nothing(client, sweep, people):
    Endpoint.objects.create(slug="shared", base_url="http://127.0.0.1:9/v1", model="m")
    address = f"/steer/{sweep.pk}/judge/"
    assert client.post(address, {"endpoint": "shared"}).url.startswith("/accounts/login/")
    client.force_login(people[1])
    assert client.post(address, {"endpoint": "shared"}).status_code == 403
    body = {"kind": "judge_sweep", "params": {"run": sweep.pk, "endpoint": "shared"}}
    assert client.post("/api/v1/jobs/", body, content_type="application/json").status_code == 403
    assert not Job.objects.filter(kind="judge_sweep").exists()
    client.force_login(people[0])
    assert client.get(address).url == sweep.get_absolute_url(), "where signing in leads back to"


def test_what_cannot_be_judged_says_so_and_names_the_remedy(client, planted, sweep, people):
    client.force_login(people[0])
    assert page_of(client, sweep).has("#judge p", "No language model is set up yet")
    Endpoint.objects.create(slug="shared", base_url="http://127.0.0.1:9/v1", model="m")
    bare = builders.swept(planted, index=1)
    assert "this feature has none. <a" in page_of(client, bare)

    def refused(run) -> str:
        response = client.post(f"/steer/{run.pk}/judge/", {"endpoint": "shared"})
        assert response.status_code == 422
        return Page(response)

    assert refused(bare).has(
        "#result [role=alert]", "has no label, so a judge has nothing to look for"
    )
    SteeringRun.objects.filter(pk=bare.pk).update(state="stopped")
    assert refused(bare).has("#result [role=alert]", "is stopped: only a sweep that has finished")
    SteeringDelta.objects.filter(run=bare).delete()
    SteeringRun.objects.filter(pk=bare.pk).update(
        params={**bare.params, "strengths": []}, state="finished"
    )
    assert refused(bare).has("#result [role=alert]", "is no sweep")
    for gone in (424242, 10**30):
        assert client.post(f"/steer/{gone}/judge/", {"endpoint": "shared"}).status_code == 404


def test_the_api_starts_the_job_and_refuses_by_field(client, sweep, people):
    Endpoint.objects.create(slug="shared", base_url="http://127.0.0.1:9/v1", model="m")
    client.force_login(people[0])

    def start(**params):
        body = {"kind": "judge_sweep", "params": {"run": sweep.pk, "endpoint": "shared", **params}}
        return client.post("/api/v1/jobs/", body, content_type="application/json")

    for changes, field in (
        ({"run": 424242}, "run"),
        ({"run": 10**30}, "run"),
        ({"endpoint": "none"}, "endpoint"),
    ):
        response = start(**changes)
        assert (response.status_code, list(response.json()["error"]["fields"])) == (
            400,
            [f"params.{field}"],
        )
    assert start().status_code == 201


def test_the_api_tells_every_judgement_of_a_sweep(client, planted, sweep, monkeypatch):
    judged(sweep, judge="old-1")
    judged(sweep)
    intervention = {"sae": "2-res", "index": 0, "strength": 1}
    body = {
        "model": "tiny",
        "prompt": "One day",
        "features": [intervention],
        "strengths": [1, 2, 3],
    }
    monkeypatch.setattr(steering_runs, "request_run", lambda form, who: sweep)
    monkeypatch.setattr(steering_runs, "wait", lambda pk, patience: True)
    told = client.post("/api/v1/steer/", body, content_type="application/json").json()["judgements"]
    assert [one["judge"] for one in told] == ["wise-1", "old-1"]
    assert told[0]["default"] == {"strength": 0, "concept": 0, "fluency": 2, "both": 0}
    assert told[0]["strengths"][0] == {"strength": 1, "concept": 1, "fluency": 1, "both": 1}
    assert told[0]["strengths"][2] == {"strength": 3, "concept": None, "fluency": 2, "both": None}
    assert (told[0]["unread"], told[0]["prompt_tokens"], told[0]["cost"]) == (1, 1500, 0.0125)
