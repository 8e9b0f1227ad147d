"""Removing checkpoints from which no job can resume, and folders of attempts that crashed.

A worker may be killed between the end of its job and the removal of its files, so every worker
removes what others left.

A training job that was cancelled or failed can be resumed: its last checkpoint stays for
`RETENTION`, unless its settings were invalid. A corpus or a model that cannot be read does not
count as an invalid setting, because it may be available again.
"""

import logging
import shutil
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from features import artifact_store
from features.jobs.forms import JOB_FORMS
from features.models import Job

log = logging.getLogger(__name__)
State = Job.State
RETENTION = timedelta(days=30)
SOURCE_FIELDS = ("model", "corpus")
"""Fields that name what training loads."""


def folder_of(job_id: int, pid: int) -> Path:
    """The folder for the files of an attempt at a job, on the machine of its worker."""
    return _folders() / f"{job_id}-{pid}"


def clear() -> None:
    """Remove unused folders and checkpoints. Any number of workers may do so at once."""
    _clear_folders()
    _clear_checkpoints()


def _folders() -> Path:
    return Path(settings.VAR) / "work"


def _clear_folders() -> None:
    """Remove folders whose job does not run, as left by workers that were killed."""
    folders = {folder: int(folder.name.partition("-")[0]) for folder in _folders().glob("[0-9]*-*")}
    running = (
        Job.objects.filter(pk__in=folders.values(), state=State.RUNNING)
        if folders
        else Job.objects.none()
    )
    busy = set(running.values_list("pk", flat=True))
    for folder, job_id in folders.items():
        if job_id not in busy:
            shutil.rmtree(folder, ignore_errors=True)


def _clear_checkpoints() -> None:
    resumable = [kind for kind, form in JOB_FORMS.items() if form.resumable]
    retained = Q(
        kind__in=resumable,
        error_field__in=["", *SOURCE_FIELDS],
        ended__gt=timezone.now() - RETENTION,
    )
    unfinished = Q(state__in=[State.FAILED, State.CANCELLED]) & ~retained
    merged = Q(state=State.FINISHED, part_of__state__in=Job.FINAL)
    useless = Job.objects.filter(unfinished | merged | Q(state=State.FINISHED, part_of=None))
    # a job that resumes another begins with that one's checkpoint
    sharing = Job.objects.filter(checkpoint=OuterRef("checkpoint")).exclude(pk=OuterRef("pk"))
    needed = Exists(sharing.exclude(pk__in=useless.values("pk")))
    over = useless.filter(~needed).exclude(checkpoint="")
    for pk, checkpoint in over.values_list("pk", "checkpoint"):
        try:
            # a checkpoint of a job that was resumed is in the folder of that job
            for name in (f"jobs/{pk}", checkpoint):
                artifact_store.remove(name)
        except OSError as error:
            # another worker removed it, or the store is not reachable: the reaper tries again
            log.warning("checkpoints of job %s stay: %s", pk, error)
        else:
            Job.objects.filter(pk=pk).update(checkpoint="")
