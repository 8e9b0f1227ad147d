"""Checkpoints that nothing goes on from, of jobs that are over and of parts whose whole is; and
folders of attempts that died.

A worker may be killed between the end of its job and the removal of what that needed, so whoever
looks next removes it.

Training that was cancelled, or failed for another reason than its settings, keeps its last one for
`KEPT`: it can be resumed. A corpus or a model that cannot be read is no setting: it may be back
tomorrow.
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
KEPT = timedelta(days=30)
READ = ("model", "corpus")
"""Fields that name what training reads."""


def folder_of(job_id: int, pid: int) -> Path:
    """Where an attempt at a job keeps its files, on the machine of its worker."""
    return _folders() / f"{job_id}-{pid}"


def clear() -> None:
    """Remove them. Any number of workers may do so at once."""
    _clear_folders()
    _clear_checkpoints()


def _folders() -> Path:
    return Path(settings.VAR) / "work"


def _clear_folders() -> None:
    """Those whose job runs nowhere: a worker that hung until it was killed removes nothing, and its
    job was over by then.
    """
    found = {folder: int(folder.name.partition("-")[0]) for folder in _folders().glob("[0-9]*-*")}
    running = (
        Job.objects.filter(pk__in=found.values(), state=State.RUNNING)
        if found
        else Job.objects.none()
    )
    busy = set(running.values_list("pk", flat=True))
    for folder, job_id in found.items():
        if job_id not in busy:
            shutil.rmtree(folder, ignore_errors=True)


def _clear_checkpoints() -> None:
    resumable = [kind for kind, form in JOB_FORMS.items() if form.resumable]
    kept = Q(kind__in=resumable, error_field__in=["", *READ], ended__gt=timezone.now() - KEPT)
    unfinished = Q(state__in=[State.FAILED, State.CANCELLED]) & ~kept
    merged = Q(state=State.FINISHED, part_of__state__in=Job.FINAL)
    useless = Job.objects.filter(unfinished | merged | Q(state=State.FINISHED, part_of=None))
    # a job that resumes another begins with that one's checkpoint
    sharing = Job.objects.filter(checkpoint=OuterRef("checkpoint")).exclude(pk=OuterRef("pk"))
    needed = Exists(sharing.exclude(pk__in=useless.values("pk")))
    over = useless.filter(~needed).exclude(checkpoint="")
    for pk, checkpoint in over.values_list("pk", "checkpoint"):
        try:
            for name in (
                f"jobs/{pk}",
                checkpoint,
            ):  # what a job took up from another lies in that one's folder
                artifact_store.remove(name)
        except (
            OSError
        ) as error:  # another worker was quicker, or the store is away: the reaper tries again
            log.warning("checkpoints of job %s stay: %s", pk, error)
        else:
            Job.objects.filter(pk=pk).update(checkpoint="")
