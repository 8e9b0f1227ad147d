"""Worker processes that tell of themselves: a row each, from start to a day after their end."""

from collections.abc import Sequence
from datetime import timedelta

from django.utils import timezone

from features.models import Worker
from features.records import WorkerState

KEPT = timedelta(days=1)
"""Rows of workers that reported nothing for this long are deleted."""


def here(name: str, queues: Sequence[str], state: WorkerState) -> None:
    """Say that the worker `name` lives and listens to `queues`; the first time, its row is made and
    stale ones go.
    """
    now = timezone.now()
    columns = {**state._asdict(), "queues": list(queues), "seen": now, "left": None}
    if Worker.objects.filter(name=name, left=None).update(**columns):
        return
    Worker.objects.filter(seen__lt=now - KEPT).delete()
    Worker.objects.update_or_create(name=name, defaults={**columns, "started": now})


def gone(name: str) -> None:
    """Say that the worker stopped in good order."""
    Worker.objects.filter(name=name).update(left=timezone.now())
