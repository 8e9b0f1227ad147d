"""Worker processes that report: a row each, from their start until a day after their end."""

from collections.abc import Sequence
from datetime import timedelta

from django.utils import timezone

from features.models import Worker
from features.records import WorkerState

RETENTION = timedelta(days=1)
"""Rows of workers that reported nothing for this long are deleted."""


def here(name: str, queues: Sequence[str], state: WorkerState) -> None:
    """Write the report of the worker `name`, which listens to `queues`. The first one creates its
    row and deletes stale ones.
    """
    now = timezone.now()
    columns = {**state._asdict(), "queues": list(queues), "seen": now, "left": None}
    if Worker.objects.filter(name=name, left=None).update(**columns):
        return
    Worker.objects.filter(seen__lt=now - RETENTION).delete()
    Worker.objects.update_or_create(name=name, defaults={**columns, "started": now})


def gone(name: str) -> None:
    """Write that the worker stopped regularly."""
    Worker.objects.filter(name=name).update(left=timezone.now())
