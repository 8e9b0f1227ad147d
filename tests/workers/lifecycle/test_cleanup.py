"""Which checkpoints are kept: what training could go on from, and nothing else."""

from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.utils import timezone

from features import artifact_store
from features.jobs import execution as job_execution
from features.jobs import lifecycle
from features.models import Job
from workers.lifecycle import cleanup

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _store(settings, tmp_path):
    settings.VAR, settings.ARTIFACTS_URL = tmp_path / "var", str(tmp_path / "store")


@pytest.fixture
def ended(tmp_path):
    """A training job with a checkpoint (of its own, or another's) that failed because of a field,
    or was cancelled.
    """

    def end(field=None, checkpoint=""):
        job = job_execution.claim(lifecycle.create("train_sae", {}).pk, "one")
        name = checkpoint or f"jobs/{job.pk}/checkpoints/5000"
        if not checkpoint:
            (tmp_path / "made").mkdir(exist_ok=True)
            (tmp_path / "made" / "run.json").write_text("{}")
            artifact_store.put(tmp_path / "made", name)
        job_execution.store_checkpoint(job, name)
        job_execution.end_cancelled(job) if field is None else job_execution.fail(job, "no", field)
        return job

    return end


def kept(job):
    cleanup.clear()
    name = Job.objects.get(pk=job.pk).checkpoint
    return bool(name and artifact_store.folders("jobs", 3) and artifact_store.files(name))


@pytest.mark.parametrize(
    ("field", "stays"), [("learning_rate", False), ("", True), ("corpus", True), ("model", True)]
)
def test_a_corpus_or_a_model_that_is_away_for_a_while_does_not_cost_the_checkpoint(
    ended, field, stays
):
    assert kept(ended(field)) is stays


def test_what_another_job_may_still_go_on_from_stays(ended):
    first = ended()
    ended("width", first.checkpoint)
    assert kept(first)
    third = lifecycle.create("train_sae", {})
    Job.objects.filter(pk=third.pk).update(checkpoint=first.checkpoint)
    long_ago = timezone.now() - cleanup.RETENTION - timedelta(days=1)
    Job.objects.filter(pk=first.pk).update(ended=long_ago)
    assert kept(first)
    lifecycle.cancel(third.pk)
    Job.objects.filter(pk=third.pk).update(ended=long_ago)
    assert not kept(first)


def test_the_folder_of_an_attempt_that_died_goes_once_its_job_runs_nowhere():
    job = job_execution.claim(lifecycle.create("add_model", {"slug": "x"}).pk, "w")
    died, goes_on = cleanup.folder_of(job.pk, 1), cleanup.folder_of(job.pk, 2)
    for folder in (died, goes_on):
        (folder / "checkpoints").mkdir(parents=True)
    cleanup.clear()
    assert died.exists(), "it may hang, and another look at the lease decides"
    assert goes_on.exists()
    job_execution.finish(job, {})
    cleanup.clear()
    assert list(died.parent.iterdir()) == []


def test_the_checkpoint_of_a_job_that_finished_goes_also_where_its_worker_died_just_then(ended):
    first = ended()
    job = job_execution.claim(lifecycle.create("train_sae", {}).pk, "two")
    artifact_store.put(
        artifact_store.get(first.checkpoint, Path(settings.VAR) / "got"),
        f"jobs/{job.pk}/checkpoints/7000",
    )
    job_execution.store_checkpoint(job, f"jobs/{job.pk}/checkpoints/7000")
    assert kept(job)
    job_execution.finish(job, {})
    assert not kept(job)
    assert kept(first)
    assert [folder.name for folder in artifact_store.folders("jobs", 1)] == [f"jobs/{first.pk}"]
