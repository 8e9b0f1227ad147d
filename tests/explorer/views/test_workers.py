"""The page of workers: who is there, what each is doing, and which queue nobody serves."""

from datetime import timedelta

import pytest
from django.utils import timezone

from features.jobs import execution as job_execution
from features.jobs import lifecycle
from features.models import Worker
from features.records import Progress, WorkerState
from features.selectors import workers as worker_selectors
from features.services import workers as worker_services
from tests.page import Page

pytestmark = pytest.mark.django_db
STATE = WorkerState("cpu, 2 threads", "0.1", 24 << 30, 20 << 30, 1 << 30, None, None)


def queued(slug="m", queue="jobs"):
    return lifecycle.create("add_model", {"slug": slug, "source": "x"}, queue=queue)


def silent(name):
    Worker.objects.filter(name=name).update(seen=timezone.now() - timedelta(minutes=1))


def test_a_worker_is_idle_working_silent_or_stopped():
    for name in ("a:1", "b:2", "c:3", "d:4"):
        worker_services.here(name, ["jobs"], STATE)
    job_execution.claim(queued().pk, "b:2")
    silent("c:3")
    worker_services.gone("d:4")
    states = {view.worker.name: (view.state, bool(view.job)) for view in worker_selectors.workers()}
    assert states == {
        "a:1": ("idle", False),
        "b:2": ("working", True),
        "c:3": ("silent", False),
        "d:4": ("stopped", False),
    }


def test_telling_again_keeps_the_row_and_its_start():
    worker_services.here("a:1", ["jobs"], STATE)
    first = Worker.objects.get()
    worker_services.here("a:1", ["jobs", "inference"], STATE._replace(memory_free=1))
    again = Worker.objects.get()
    assert (again.pk, again.started, again.queues, again.memory_free) == (
        first.pk,
        first.started,
        ["jobs", "inference"],
        1,
    )


def test_a_worker_that_stopped_and_starts_under_the_same_name_is_a_new_one():
    worker_services.here("a:1", ["jobs"], STATE)
    before = Worker.objects.get().started
    worker_services.gone("a:1")
    worker_services.here("a:1", ["jobs"], STATE)
    assert Worker.objects.get().left is None
    assert Worker.objects.get().started > before


def test_those_heard_of_no_more_for_a_day_go_when_another_comes():
    worker_services.here("a:1", ["jobs"], STATE)
    Worker.objects.update(seen=timezone.now() - timedelta(days=2))
    worker_services.here("b:2", ["jobs"], STATE)
    assert list(Worker.objects.values_list("name", flat=True)) == ["b:2"]


def test_a_queue_that_nobody_serves_is_told(client):
    worker_services.here("a:1", ["jobs"], STATE)
    queued(queue="jobs-gpu")
    html = Page(client.get("/jobs/workers/"))
    assert html.has("#main [role=alert]", "No worker listens to this queue")
    assert html.has("#main [role=alert]", "--queues jobs-gpu")
    worker_services.here("b:2", ["jobs-gpu"], STATE)
    assert "No worker listens" not in Page(client.get("/jobs/workers/"))
    silent("b:2")
    assert Page(client.get("/jobs/workers/")).has("#main [role=alert]", "No worker listens")


def test_the_page_shows_device_memory_and_what_each_is_doing(client):
    gpu = STATE._replace(
        device="NVIDIA H200", device_memory=140 << 30, device_memory_free=100 << 30
    )
    worker_services.here("a:1", ["jobs"], gpu)
    job = job_execution.claim(queued("named").pk, "a:1")
    job_execution.write_progress(job, Progress(5, 10, "tokens", "Reading <it>"))
    html = Page(client.get("/jobs/workers/"))
    for part in (
        "NVIDIA H200",
        "100.0",
        "24.0",
        f"/jobs/{job.pk}/",
        "named",
        "Reading &lt;it&gt;",
        'aria-valuenow="50"',
    ):
        assert part in html, part


def test_it_costs_the_same_for_ten_workers_as_for_two(client, django_assert_num_queries):
    for n in range(10):
        worker_services.here(f"a:{n}", ["jobs"], STATE)
        job_execution.claim(queued(f"m{n}").pk, f"a:{n}")
    with django_assert_num_queries(3):
        client.get("/jobs/workers/")


def test_without_any_worker_it_says_how_to_start_one(client):
    assert Page(client.get("/jobs/workers/")).has("main", "manage.py up")


def test_htmx_gets_only_what_changes(client):
    html = Page(client.get("/jobs/workers/", headers={"HX-Request": "true"}))
    assert "<html" not in html
