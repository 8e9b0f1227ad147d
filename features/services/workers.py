"""Worker processes that tell of themselves: a row each, from start to a day after their end."""

from collections.abc import Sequence
from datetime import timedelta

from django.utils import timezone

from features.models import Worker
from features.records import WorkerState

KEPT = timedelta(days=1)
"""How long the row of a worker stays that was heard of no more."""


def here(name: str, queues: Sequence[str], state: WorkerState) -> None:
    """Say that the worker `name` lives and listens to `queues`; the first time, its row is made and
    stale ones go.
    """
    now = timezone.now()
    told = {**state._asdict(), "queues": list(queues), "seen": now, "left": None}
    if Worker.objects.filter(name=name, left=None).update(**told):
        return
    Worker.objects.filter(seen__lt=now - KEPT).delete()
    Worker.objects.update_or_create(name=name, defaults={**told, "started": now})


def gone(name: str) -> None:
    """Say that the worker stopped in good order."""
    Worker.objects.filter(name=name).update(left=timezone.now())
