"""Leases: how long a worker may be silent, and which messages are sent again."""

from datetime import timedelta
from typing import TypeVar

from django.db.models import Model, Q, QuerySet
from django.utils import timezone

from features.models.queue import QueuedWork
from features.queue.claims import hold

UNSENT_AFTER = timedelta(seconds=5)
"""A message that no worker took for so long is sent again."""

Row = TypeVar("Row", bound=Model)


def renew(row: QueuedWork, lease: timedelta) -> None:
    """Lengthen the lease of a row that its worker holds. Raises `LostLease`."""
    hold(row, lease_until=timezone.now() + lease)


def expired(rows: QuerySet[Row]) -> QuerySet[Row]:
    """Rows whose worker died: they run, and their lease has ended."""
    return rows.filter(state=QueuedWork.RUNNING, lease_until__lt=timezone.now())


def unsent(rows: QuerySet[Row], after: timedelta = UNSENT_AFTER) -> QuerySet[Row]:
    """Rows whose message was never sent, or longer than `after` ago."""
    return rows.filter(Q(sent=None) | Q(sent__lt=timezone.now() - after))
