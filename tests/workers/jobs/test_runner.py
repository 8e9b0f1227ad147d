"""A job ends in one state, whatever its work does."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from celery.apps.worker import install_worker_term_handler
from celery.worker import state as worker_state
from django.db import OperationalError

from features import artifact_store
from features.jobs import execution as job_execution
from features.jobs import lifecycle
from features.models import Job, JobEvent
from features.records import Checkpoint, InvalidInput, LogLine, Metrics, Progress
from workers.jobs import registry as job_registry
from workers.jobs import runner as running
from workers.lifecycle.work import RunningJob
from workers.pipeline.errors import Unavailable

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _places(settings, tmp_path, monkeypatch):
    settings.VAR, settings.ARTIFACTS_URL = tmp_path / "var", str(tmp_path / "artifacts")
    monkeypatch.setattr(running, "HEARTBEAT_SECONDS", 0.05)


@pytest.fixture
def run(monkeypatch) -> Callable[..., Job]:
    """Run a job whose work is the function given, and return its row afterwards."""

    def runner(work: Callable[[RunningJob], None], job: Job | None = None) -> Job:
        job = job or lifecycle.create("train_sae", {})
        monkeypatch.setitem(job_registry.RUNNERS, "train_sae", work)
        running.run(job.pk)
        return Job.objects.get(pk=job.pk)

    return runner


def test_work_that_finishes_leaves_its_result_and_its_story(run):
    def work(job: RunningJob) -> None:
        records = [
            Progress(1, 2, "tokens", "halfway"),
            Metrics(5, {"loss": 0.5}),
            LogLine("so far"),
            Progress(2, 2, "tokens", ""),
        ]
        assert list(job.results([*records, "extra"])) == ["extra"]
        job_execution.finish(job.row, {"answer": 42})

    job = run(work)
    assert (job.state, job.result, job.done, job.unit) == ("finished", {"answer": 42}, 2, "tokens")
    assert job.environment["torch"]
    assert job.ended is not None
    kinds_seen = list(JobEvent.objects.filter(job=job).values_list("kind", flat=True))
    assert kinds_seen.count("metrics") == 1
    assert "log" in kinds_seen


def test_bad_input_fails_the_job_beside_its_field(run):
    def work(job: RunningJob) -> None:
        raise InvalidInput("hook", "the model has no such hook")

    job = run(work)
    assert (job.state, job.error_field, job.error) == (
        "failed",
        "hook",
        "the model has no such hook",
    )


def test_a_bug_fails_the_job_in_words_and_keeps_the_place_in_the_log(run):
    def work(job: RunningJob) -> None:
        raise ZeroDivisionError("oh")

    job = run(work)
    assert job.state == "failed"
    assert job.error.startswith("ZeroDivisionError: oh.")
    assert "in work" in JobEvent.objects.filter(job=job, kind="log").last().data["text"]


def test_a_full_disk_is_said_in_a_sentence(run):
    def work(job: RunningJob) -> None:
        raise OSError(28, "No space left on device")

    assert run(work).error.startswith("The disk is full.")


def test_a_request_to_cancel_reaches_the_work(run):
    def work(job: RunningJob) -> None:
        lifecycle.cancel(job.row.pk)

        def records() -> Iterator[Progress]:
            while not job.should_stop():
                yield Progress(1, 9, "tokens", "working")

        list(job.results(records()))

    assert run(work).state == "cancelled"


def test_a_worker_that_gets_a_sigterm_puts_its_job_back(run, monkeypatch):
    monkeypatch.setattr(worker_state, "should_stop", None)
    before = signal.getsignal(signal.SIGTERM)
    install_worker_term_handler(SimpleNamespace(hostname="jobs@here"), verbose=False)

    def work(job: RunningJob) -> None:
        assert not job.should_stop()
        os.kill(os.getpid(), signal.SIGTERM)
        list(job.results([]))
        job_execution.finish(job.row, {"went": "on"})

    try:
        job = run(work)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (job.state, job.attempts, job.worker) == ("queued", 0, "")


def test_work_whose_lease_was_lost_writes_no_end(run):
    def work(job: RunningJob) -> None:
        Job.objects.filter(pk=job.row.pk).update(worker="another:1")
        job_execution.finish(job.row, {"stolen": True})

    job = run(work)
    assert (job.state, job.worker, job.result) == ("running", "another:1", {})


def test_checkpoints_go_to_the_artifacts_and_only_the_last_is_kept(run, tmp_path):
    def work(job: RunningJob) -> None:
        for step in (10, 20):
            place = job.folder / "checkpoints" / str(step)
            place.mkdir(parents=True)
            (place / "weights").write_text(str(step))
            list(job.results([Checkpoint(step, str(place))]))
        job_execution.finish(job.row, {})

    job = run(work)
    assert job.checkpoint == f"jobs/{job.pk}/checkpoints/20"
    assert (artifact_store.get(job.checkpoint, tmp_path / "back") / "weights").read_text() == "20"
    with pytest.raises(artifact_store.Missing):
        artifact_store.get(f"jobs/{job.pk}/checkpoints/10", tmp_path / "old")


@pytest.mark.parametrize(
    ("kind", "end", "stays"),
    [
        ("train_sae", "cancelled", True),  # a person may go on with it
        ("train_sae", "failed", False),  # a wrong setting stays wrong
        ("compute_dashboards", "cancelled", False),
        ("compute_dashboards", "failed", False),
    ],
)
def test_a_checkpoint_stays_only_where_somebody_can_go_on_from_it(
    run, monkeypatch, settings, kind, end, stays
):
    def work(job: RunningJob) -> None:
        place = job.folder / "checkpoints" / "10"
        place.mkdir(parents=True)
        (place / "weights").write_text("10")
        list(job.results([Checkpoint(10, str(place))]))
        assert Path(settings.ARTIFACTS_URL, "jobs", str(job.row.pk)).is_dir()
        if end == "failed":
            raise InvalidInput("learning_rate", "too large")
        lifecycle.cancel(job.row.pk)
        while not job.should_stop():
            time.sleep(0.01)
        list(job.results([]))

    monkeypatch.setitem(job_registry.RUNNERS, kind, work)
    job = run(work, lifecycle.create(kind, {}))
    assert (job.state, Path(settings.ARTIFACTS_URL, "jobs", str(job.pk)).exists()) == (end, stays)


def test_what_a_dead_worker_of_the_same_number_left_is_no_obstacle(run, settings):
    job = lifecycle.create("train_sae", {})
    left = settings.VAR / "work" / f"{job.pk}-{os.getpid()}"
    left.mkdir(parents=True)
    (left / "half").write_text("written")

    def work(job: RunningJob) -> None:
        assert list(job.folder.iterdir()) == []
        job_execution.finish(job.row, {})

    assert run(work, job).state == "finished"


def test_a_message_that_comes_twice_does_nothing_the_second_time(run):
    times = []

    def work(job: RunningJob) -> None:
        times.append(job.row.pk)
        job_execution.finish(job.row, {})

    job = run(work)
    running.run(job.pk)
    assert times == [job.pk]


@pytest.mark.parametrize(
    "error",
    [
        Unavailable("source", "The hub does not answer."),
        ConnectionResetError("gone"),
        OperationalError("gone"),
    ],
)
def test_what_may_pass_is_tried_again_and_keeps_its_checkpoints(run, error):
    def work(work):
        raise error

    job = run(work)
    assert job.state == "queued"
    assert job.not_before is not None
    assert "Trying again in 10 s." in job.events.order_by("id").last().data["note"]


def test_work_that_gives_no_sign_of_life_ends_its_worker(run, settings, monkeypatch):
    ended = threading.Event()
    monkeypatch.setattr(running.os, "_exit", lambda code: ended.set())
    settings.HANG_MINUTES = 0.2 / 60

    def work(job: RunningJob) -> None:
        for _ in range(8):
            time.sleep(0.1)
            job.should_stop()
        assert not ended.is_set()
        assert ended.wait(5)
        job_execution.finish(job.row, {})

    log = [e.data.get("text", "") for e in run(work).events.all()]
    assert any(text.startswith("No progress for") for text in log)


def test_a_folder_that_cannot_be_made_fails_the_job_in_words(run, settings):
    settings.VAR.mkdir(parents=True)
    (settings.VAR / "work").write_text("in the way")
    job = run(lambda work: pytest.fail("it ran"))
    assert job.state == "failed"
    assert "Error" in job.error
