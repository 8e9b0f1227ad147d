"""Removes unused files: weights of deleted SAEs, checkpoints of ended jobs, incomplete uploads."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from django.utils import timezone

from features import artifact_store
from features.jobs.forms import CollectGarbage
from features.models import Job, Sae
from features.records import InvalidParams
from features.services import jobs as job_services

INTERVAL = timedelta(days=1)
MIN_AGE = timedelta(hours=1)
"""Weights are stored a moment before their row is written."""
MAX_UPLOAD_TIME = timedelta(days=1)
"""An incoming folder that is older was abandoned."""


class CollectedGarbage(NamedTuple):
    """What was removed."""

    folders: int
    bytes: int


def collect() -> CollectedGarbage:
    """Remove every folder that no SAE and no job needs."""
    now = timezone.now()
    gone = [
        *_older(_unused_weights(), now - MIN_AGE),
        *_older(_finished_job_folders(), now - MIN_AGE),
        *_older(artifact_store.folders(artifact_store.INCOMING, 1), now - MAX_UPLOAD_TIME),
    ]
    for folder in gone:
        artifact_store.remove(folder.name)
    return CollectedGarbage(len(gone), sum(folder.size for folder in gone))


def start_when_due() -> None:
    """Start the job once a day. Several workers may call this at the same time."""
    day = timezone.now() - INTERVAL
    if (
        Job.objects.filter(created__lt=day).exists()
        and not Job.objects.filter(kind=CollectGarbage.kind, created__gt=day).exists()
    ):
        try:
            job_services.start(CollectGarbage.kind, {}, placing={"priority": "low"})
        except InvalidParams:
            return  # another worker was quicker


def _unused_weights() -> list[artifact_store.Folder]:
    needed = set(Sae.objects.values_list("artifact", flat=True))
    return [folder for folder in artifact_store.folders("saes", 2) if folder.name not in needed]


def _finished_job_folders() -> list[artifact_store.Folder]:
    """Folders of jobs that were deleted, or ended without a checkpoint to resume from."""
    job_folders = {
        int(name): folder
        for folder in artifact_store.folders("jobs", 1)
        if (name := folder.name[5:]).isdecimal()
    }
    needed = Job.objects.filter(pk__in=job_folders).exclude(state__in=Job.FINAL, checkpoint="")
    needed_ids = set(needed.values_list("pk", flat=True))
    return [folder for pk, folder in job_folders.items() if pk not in needed_ids]


def _older(
    folders: Iterable[artifact_store.Folder], limit: datetime
) -> list[artifact_store.Folder]:
    return [folder for folder in folders if folder.changed is not None and folder.changed < limit]
