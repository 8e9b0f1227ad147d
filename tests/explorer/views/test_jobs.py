"""The pages of jobs: the list, one job in every state, the chain it belongs to, and who
may cancel.
"""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.html import escape

from explorer.definitions import DEFINITIONS
from features.jobs import events as job_events
from features.jobs import execution as job_execution
from features.jobs import lifecycle
from features.models import Job, Sae
from features.records import InvalidParams, Metrics, Progress
from features.selectors.jobs import curves
from features.services.jobs import start
from tests import builders
from tests.page import Page

pytestmark = pytest.mark.django_db
SETTINGS = {
    "model": "tiny",
    "corpus": "tiny-stories",
    "slug": "new",
    "hook": "blocks.2.hook_resid_post",
    "width": 512,
}


@pytest.fixture
def ada(client):
    ada, *_ = builders.cast()
    client.force_login(ada)
    return ada


@pytest.fixture
def training():
    """A training job with two that follow it, as the start page makes them."""
    builders.planted()
    return start("train_sae", SETTINGS)


def running(job, points=10):
    """Claim the job and tell of progress and metrics."""
    claimed = job_execution.claim(job.pk, "worker:1")
    for n in range(1, points + 1):
        values = {
            "odd_metric": 1.0,
            "l0": 24.0,
            "explained_variance": n / (points + 1),
            "dead_share": 0.06,
        }
        job_events.metrics(claimed.pk, Metrics(n * 1000, values))
    job_execution.write_progress(
        claimed, Progress(points * 1000, 1_000_000, "tokens", "explained variance 0.9")
    )
    job_events.log(claimed.pk, "A line & its <b>text</b>.")
    return claimed


def page(client, job, **headers):
    return Page(client.get(f"/jobs/{job.pk}/", headers=headers))


def test_the_list_shows_the_newest_first_and_filters_by_kind_and_state(client, training):
    html = Page(client.get("/jobs/"))
    ids = list(Job.objects.order_by("-id").values_list("id", flat=True))
    assert [html.index(f"/jobs/{pk}/") for pk in ids] == sorted(
        html.index(f"/jobs/{pk}/") for pk in ids
    )
    only = Page(client.get("/jobs/?kind=train_sae&state=queued"))
    assert f"/jobs/{training.pk}/" in only
    assert f"/jobs/{ids[0]}/" not in only


def test_a_place_in_the_log_that_is_no_place_shows_all_of_it(client, training):
    for since in ("x", "9" * 5000, "-1"):
        assert client.get(f"/jobs/{training.pk}/?since={since}").status_code == 200


def test_the_list_goes_on_page_by_page_without_losing_or_repeating_a_job(client):
    made = [
        Job.objects.create(kind="add_model", params={"slug": f"m{n}"}, queue="jobs").pk
        for n in range(95)
    ]
    seen, url = [], "/jobs/?kind=add_model"
    while url:
        found = client.get(url).context["page"]
        seen += [job.pk for job in found.rows]
        url = found.next and f"/jobs/?kind=add_model&cursor={found.next}"
    assert seen == made[::-1]


@pytest.mark.parametrize(
    "query", ["kind=nope", "state=nope", "cursor=nope", "cursor=1:2:3", "kind=&state="]
)
def test_a_list_asked_for_wrongly_says_so_and_is_no_error(client, query):
    response = client.get(f"/jobs/?{query}")
    assert response.status_code == 200
    assert ("errorlist" in Page(response)) == ("nope" in query or "1:2" in query)


def test_the_list_costs_the_same_for_ten_jobs_as_for_twenty(client, django_assert_num_queries):
    for n in range(20):
        Job.objects.create(kind="add_model", params={"slug": f"m{n}"}, queue="jobs")
        if n in (9, 19):
            with django_assert_num_queries(1):
                client.get("/jobs/")


def test_a_queued_job_says_how_many_are_before_it(client, training):
    later = start("evaluate_sae", {"sae": "tiny/2-res", "corpus": "tiny-stories"})
    assert page(client, training).has("main", "next in the queue “jobs”")
    assert page(client, later).has("main", "1 job ahead")


def test_a_running_job_shows_progress_curves_in_a_sensible_order_and_its_log_escaped(
    client, training
):
    running(training)
    html = page(client, training)
    assert html.has('div[aria-valuenow="1"]')
    assert html.has("main", "of 1,000,000 tokens")
    order = [
        html.index(f">{name}</h2>")
        for name in ("Explained variance", "Features firing per token", "Odd metric")
    ]
    assert order == sorted(order)
    assert html.count('class="spark"') == 4
    assert html.has("main", "A line & its <b>text</b>.")


def test_time_left_is_estimated_only_once_there_is_something_to_measure(client, training):
    running(training)
    assert page(client, training).has("main", "estimating the time left")
    Job.objects.filter(pk=training.pk).update(
        rate_done=0,
        rate_at=timezone.now() - timezone.timedelta(seconds=10),
        progress_at=timezone.now(),
        done=250_000,
    )
    html = page(client, training)
    assert html.has(".evidence .badge", "about 30 s left")
    assert html.has("main", "25,000 tokens/s")


def test_a_running_page_listens_and_works_without_javascript_and_a_finished_one_does_neither(
    client, training
):
    claimed = running(training)
    html = page(client, training)
    assert html.has(f'div[sse-connect="/jobs/{training.pk}/events/"]')
    assert "reload it" in html.split("<noscript>")[1].split("</noscript>")[0]
    job_execution.finish(claimed, {"sae": "tiny/new"})
    html = page(client, training)
    assert "sse-connect" not in html
    assert "<noscript>" not in html
    assert html.has('a[href="/tiny/new/"]')


def test_htmx_gets_only_what_changes_with_the_lines_that_are_new(client, training):
    running(training)
    last = training.events.order_by("-id").first().pk
    job_events.log(training.pk, "News.")
    html = Page(client.get(f"/jobs/{training.pk}/?since={last}", headers={"HX-Request": "true"}))
    assert "<html" not in html
    assert html.has("body", "News.")
    assert "A line &amp;" not in html
    assert (
        client.get(f"/jobs/{training.pk}/?since=x'y", headers={"HX-Request": "true"}).status_code
        == 200
    )


def test_a_finished_job_shows_its_sae_first_and_then_its_numbers_by_name_with_their_definitions(
    client, training
):
    result = {"kl_score": 0.9, "explained_variance": 0.812, "strange": 7, "sae": "tiny/2-res"}
    job_execution.finish(running(training), result)
    html = page(client, training).split("<h2>Result</h2>")[1].split("</section>")[0]
    names = [
        escape(DEFINITIONS[term].name) for term in ("eval_explained_variance", "eval_kl_score")
    ]
    places = [html.index(text) for text in ('href="/tiny/2-res/"', *names, "Strange")]
    assert places == sorted(places)
    assert "0.812" in html
    assert escape(DEFINITIONS["eval_kl_score"].about) in html


def test_a_failed_job_names_the_setting_and_how_to_mend_it(client, ada, training):
    claimed = running(training)
    job_execution.fail(
        claimed, "The loss is no longer a number; use a learning rate below 0.1.", "learning_rate"
    )
    html = page(client, training)
    assert html.has("#live [role=alert]", "Learning rate:")
    assert html.has("#live [role=alert]", "use a learning rate below 0.1")
    assert html.has('[role=alert] a[href$="#id_learning_rate"]')


def test_a_chain_is_shown_from_each_of_its_jobs_in_five_queries(
    client, training, django_assert_max_num_queries
):
    first, shown, _mapped, evaluated, _labelled = Job.objects.order_by("id")
    assert page(client, first).count("then: ") == 4
    html = page(client, evaluated)
    assert html.index(f"/jobs/{first.pk}/") < html.index(f"/jobs/{shown.pk}/")
    assert html.count("after: ") == 2
    with django_assert_max_num_queries(7):
        page(client, first)


def test_the_dashed_line_is_the_best_earlier_run_on_the_same_hook(client):
    builders.planted()
    earlier = start("train_sae", SETTINGS | {"then": "false", "slug": "earlier"})
    job_execution.finish(running(earlier), {"sae": "tiny/2-res"})
    Sae.objects.update(made_by=earlier)
    training = start("train_sae", SETTINGS)
    assert "The dashed line" not in page(client, training)
    running(training)
    html = page(client, training)
    assert f'The dashed line is <a href="/jobs/{earlier.pk}/">job {earlier.pk}</a>' in html
    assert html.has('path[class="earlier"]')
    assert "The dashed line" not in page(client, earlier)


def test_a_job_that_is_not_there_is_a_404_everywhere(client, ada):
    for url in ("/jobs/99/", "/jobs/99/events/"):
        assert client.get(url).status_code == 404
    assert client.post("/jobs/99/cancel/").status_code == 404


def test_staff_and_who_started_it_may_cancel_a_job_and_nobody_else(client, training):
    ada, ben, _ = builders.cast()
    owned = Job.objects.create(kind="add_model", params={}, queue="jobs", created_by=ben)
    client.force_login(ben)
    assert client.post(f"/jobs/{training.pk}/cancel/").status_code == 403
    assert "Cancel</button>" not in page(client, training)
    assert page(client, owned).has("#actions form button", "Cancel")
    assert client.post(f"/jobs/{owned.pk}/cancel/", follow=True).status_code == 200
    client.force_login(ada)
    client.post(f"/jobs/{training.pk}/cancel/")
    assert set(Job.objects.values_list("state", flat=True)) == {"cancelled"}


def test_a_visitor_cannot_cancel_and_a_link_cannot_either(client, training):
    assert client.post(f"/jobs/{training.pk}/cancel/").status_code == 403
    assert client.get(f"/jobs/{training.pk}/cancel/").status_code == 405
    training.refresh_from_db()
    assert training.state == "queued"


def test_running_it_again_opens_the_start_page_filled_in_as_it_was_under_a_free_slug(client, ada):
    builders.planted()
    job = start("train_sae", SETTINGS | {"slug": "2-res-topk", "width": 777, "seed": 5})
    html = page(client, job)
    again = html.split('class="button" href="')[1].split('"')[0].replace("&amp;", "&")
    form = client.get(again).context["form"]
    assert (form["width"].value(), form["seed"].value(), form["hook"].value()) == (
        "777",
        "5",
        SETTINGS["hook"],
    )
    assert form["slug"].value() == "2-res-topk-2"


def test_a_long_curve_is_thinned_to_what_can_be_seen_and_keeps_its_ends(client, training):
    claimed = running(training, points=999)
    points = client.get(f"/jobs/{claimed.pk}/").context["view"].curves["l0"][""]
    assert 100 <= len(points) <= 121
    assert (points[0][0], points[-1][0]) == (1000, 999_000)


def test_what_a_resumed_attempt_measured_again_replaces_what_was_lost(training):
    for step, value in [(1, 0.1), (2, 0.2), (3, 0.3), (2, 0.25), (4, 0.4)]:
        job_events.metrics(training.pk, Metrics(step, {"l0": value}))
    assert curves(training.pk)["l0"] == {"": [(1, 0.1), (2, 0.25), (4, 0.4)]}


@pytest.fixture
def divided():
    """A job that makes dashboards in three parts: one read, one at work, one queued."""
    builders.planted()
    whole = start(
        "compute_dashboards",
        {"sae": "tiny/2-res", "corpus": "tiny-stories", "tokens": 3000, "shards": 3},
    )
    first, second, _ = whole.parts.order_by("id")
    for part, done in ((first, 1000), (second, 500)):
        claimed = job_execution.claim(part.pk, "worker:7")
        job_execution.write_progress(claimed, Progress(done, 1000, "tokens", "Reading the corpus"))
        if done == 1000:
            job_execution.finish(claimed, {"tokens": done})
    return Job.objects.get(pk=whole.pk)


def test_the_page_of_a_job_in_parts_shows_each_of_them_and_what_they_did_together(client, divided):
    html = page(client, divided)
    for part in divided.parts.all():
        assert html.has(f'a[href="/jobs/{part.pk}/"]')
    assert html.has("main", "running in 3 parts")
    assert "<b>50%</b> of 3,000 tokens" in html
    assert html.has("#live p", "1 of 3 parts running")
    assert html.has("#live td", "worker:7")
    assert html.has("main", f"Its part, job {divided.parts.order_by('id')[0].pk}, finished.")


def test_lists_leave_parts_out_and_their_own_pages_name_the_whole(client, ada, divided):
    part = divided.parts.order_by("id").last()
    html = Page(client.get("/jobs/"))
    assert f"/jobs/{divided.pk}/" in html
    assert f"/jobs/{part.pk}/" not in html
    listed = {row["id"] for row in client.get("/api/v1/jobs/").json()["results"]}
    assert divided.pk in listed
    assert not listed & {part.pk for part in divided.parts.all()}
    assert client.get(f"/api/v1/jobs/{part.pk}/").json()["part_of"] == divided.pk
    html = page(client, part)
    badge = html.one(".badge", f"part of job {divided.pk}")
    assert badge.has(f'a[href="/jobs/{divided.pk}/"]')
    assert "Run again" not in html
    assert escape("Shard 3 of 3 for tiny/2-res") in html


def test_nobody_starts_a_part_by_itself(client, ada, divided):
    assert client.get("/jobs/new/scan_shard/").status_code == 404
    assert "Read a shard" not in Page(client.get("/jobs/new/"))
    kinds = client.get("/api/v1/kinds/").json()["results"]
    assert "scan_shard" not in [kind["kind"] for kind in kinds]
    with pytest.raises(InvalidParams, match="no kind “scan_shard”"):
        start("scan_shard", {"sae": "tiny/2-res", "corpus": "tiny-stories", "shard": 1})


def test_cancelling_a_part_from_its_page_cancels_all_of_the_job(client, ada, divided):
    part = divided.parts.order_by("id").last()
    client.post(f"/jobs/{part.pk}/cancel/")
    assert [Job.objects.get(pk=pk).state for pk in (divided.pk, part.pk)] == [
        "cancelled",
        "cancelled",
    ]


def test_a_page_of_many_parts_costs_as_many_queries_as_one_of_few(client, divided):
    def cost():
        with CaptureQueriesContext(connection) as seen:
            page(client, divided)
        return len(seen)

    before = cost()
    for number in range(4, 40):
        lifecycle.create("scan_shard", {**divided.params, "shard": number}, part_of=divided)
    assert cost() == before


def test_several_saes_are_chosen_on_the_start_page_and_linked_on_the_jobs(client, ada):
    planted = builders.planted()
    builders.sae(planted.model, "1-res")
    html = Page(client.get("/jobs/new/compute_dashboards/?sae=tiny/2-res+tiny/1-res"))
    assert html.has('option[value="tiny/2-res"][selected]')
    assert html.has('option[value="tiny/1-res"][selected]')
    assert html.has('select[name="sae"]')
    sent = {
        "sae": ["tiny/2-res", "tiny/1-res"],
        "corpus": "tiny-stories",
        "tokens": "5000",
        "shards": "1",
    }
    there = client.post("/jobs/new/compute_dashboards/", sent)
    job = Job.objects.get(kind="compute_dashboards")
    assert (there.status_code, job.params["sae"]) == (302, "tiny/2-res tiny/1-res")
    html = page(client, job)
    assert html.has("h1", "Compute dashboards of tiny/2-res and 1 other")
    assert html.has('.settings a[href="/tiny/2-res/"]', "tiny/2-res")
    assert html.has('.settings a[href="/tiny/1-res/"]', "tiny/1-res")
    assert "/jobs/new/compute_dashboards/?sae=tiny%2F2-res+tiny%2F1-res" in html
