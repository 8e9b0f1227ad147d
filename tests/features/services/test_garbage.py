"""Files that nothing refers to go; what an SAE, a job or an upload under way needs stays."""

import os
import time
from datetime import timedelta

import pytest
from django.utils import timezone

from features import artifact_store
from features.jobs import execution as job_execution
from features.jobs import lifecycle
from features.jobs.forms import CollectGarbage
from features.models import Job, Sae
from features.services import garbage
from tests import builders

pytestmark = pytest.mark.django_db
OLD = time.time() - 3 * 86400


@pytest.fixture(autouse=True)
def store(settings, tmp_path):
    settings.ARTIFACTS_URL = str(tmp_path / "store")
    return tmp_path / "store"


@pytest.fixture
def keep(store, tmp_path):
    """Put a folder of one file of ten bytes, as old as it is said to be."""

    def put(name, seconds=OLD):
        folder = tmp_path / "made"
        folder.mkdir(exist_ok=True)
        (folder / "weights").write_bytes(bytes(10))
        artifact_store.put(folder, name)
        os.utime(store / name / "weights", (seconds, seconds))

    return put


def there(store):
    return {path.parent.relative_to(store).as_posix() for path in store.rglob("weights")}


def test_weights_stay_for_as_long_as_an_sae_refers_to_them(keep, store):
    sae = builders.planted().sae
    Sae.objects.filter(pk=sae.pk).update(artifact="saes/tiny/2-res-abc")
    keep("saes/tiny/2-res-abc")
    keep("saes/tiny/gone-def")
    assert garbage.collect() == (1, 10)
    assert there(store) == {"saes/tiny/2-res-abc"}
    sae.delete()
    garbage.collect()
    assert there(store) == set()


def test_what_was_just_written_stays_as_its_row_may_come_in_a_moment(keep, store):
    keep("saes/tiny/new-abc", time.time())
    keep(".incoming/half", time.time() - 7200)
    assert garbage.collect() == (0, 0)
    assert len(there(store)) == 2


def test_a_broken_upload_goes_after_a_day(keep, store):
    keep(".incoming/half")
    assert garbage.collect() == (1, 10)


def test_checkpoints_stay_while_a_job_may_go_on_from_them(keep, store):
    running, kept, over = (lifecycle.create("train_sae", {}) for _ in range(3))
    job_execution.claim(running.pk, "one")
    for job, checkpoint in ((kept, "jobs/x/checkpoints/1"), (over, "")):
        Job.objects.filter(pk=job.pk).update(
            state="cancelled", ended=timezone.now(), checkpoint=checkpoint
        )
    for pk in (running.pk, kept.pk, over.pk, 99999):
        keep(f"jobs/{pk}/checkpoints/1")
    garbage.collect()
    assert there(store) == {f"jobs/{pk}/checkpoints/1" for pk in (running.pk, kept.pk)}


def test_an_empty_store_is_no_error():
    assert garbage.collect() == (0, 0)


def test_it_runs_once_a_day_by_itself_and_not_on_a_new_instance():
    garbage.start_when_due()
    lifecycle.create("add_model", {})
    garbage.start_when_due()
    assert not Job.objects.filter(kind=CollectGarbage.kind).exists()
    Job.objects.update(created=timezone.now() - timedelta(days=2))
    garbage.start_when_due()
    garbage.start_when_due()
    job = Job.objects.get(kind=CollectGarbage.kind)
    assert job.priority == Job.Priority.LOW
    running = job_execution.claim(job.pk, "a worker")
    job_execution.finish(running, {})
    Job.objects.filter(pk=job.pk).update(created=timezone.now() - timedelta(days=2))
    garbage.start_when_due()
    assert Job.objects.filter(kind=CollectGarbage.kind).count() == 2
