"""Files that nothing refers to any more: weights of deleted SAEs, checkpoints of jobs that are
over, halves of uploads.
"""

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
YOUNG = timedelta(hours=1)
"""Weights lie in the store for a moment before the row that refers to them does."""
ARRIVING = timedelta(days=1)
"""An upload that took longer is none."""


class Collected(NamedTuple):
    """What was removed."""

    folders: int
    bytes: int


def collect() -> Collected:
    """Remove every folder that no SAE and no job needs."""
    now = timezone.now()
    gone = [
        *_older(_unreferred(), now - YOUNG),
        *_older(_of_finished_jobs(), now - YOUNG),
        *_older(artifact_store.folders(artifact_store.INCOMING, 1), now - ARRIVING),
    ]
    for folder in gone:
        artifact_store.remove(folder.name)
    return Collected(len(gone), sum(folder.size for folder in gone))


def start_when_due() -> None:
    """Once a day, start the job that collects; any number of workers may ask."""
    day = timezone.now() - INTERVAL
    if (
        Job.objects.filter(created__lt=day).exists()
        and not Job.objects.filter(kind=CollectGarbage.kind, created__gt=day).exists()
    ):
        try:
            job_services.start(CollectGarbage.kind, {}, placing={"priority": "low"})
        except InvalidParams:
            return  # another worker was quicker


def _unreferred() -> list[artifact_store.Folder]:
    needed = set(Sae.objects.values_list("artifact", flat=True))
    return [folder for folder in artifact_store.folders("saes", 2) if folder.name not in needed]


def _of_finished_jobs() -> list[artifact_store.Folder]:
    """Folders of jobs that are over and keep no checkpoint, or are no more."""
    found = {
        int(name): folder
        for folder in artifact_store.folders("jobs", 1)
        if (name := folder.name[5:]).isdecimal()
    }
    needed = Job.objects.filter(pk__in=found).exclude(state__in=Job.FINAL, checkpoint="")
    kept = set(needed.values_list("pk", flat=True))
    return [folder for pk, folder in found.items() if pk not in kept]


def _older(
    folders: Iterable[artifact_store.Folder], limit: datetime
) -> list[artifact_store.Folder]:
    return [folder for folder in folders if folder.changed is not None and folder.changed < limit]
