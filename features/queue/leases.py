"""Leases: how long a worker may hold a row without renewing, and which messages are sent again."""

from datetime import timedelta
from typing import TypeVar

from django.db.models import Model, Q, QuerySet
from django.utils import timezone

from features.models.queue import QueuedWork
from features.queue.claims import hold

UNSENT_AFTER = timedelta(seconds=5)
"""A message that no worker has received after this time is sent again."""

Row = TypeVar("Row", bound=Model)


def renew(row: QueuedWork, lease: timedelta) -> None:
    """Extend the lease of a row that its worker holds. Raises `LostLease`."""
    hold(row, lease_until=timezone.now() + lease)


def expired(rows: QuerySet[Row]) -> QuerySet[Row]:
    """Rows whose worker crashed: they run, and their lease has expired."""
    return rows.filter(state=QueuedWork.RUNNING, lease_until__lt=timezone.now())


def unsent(rows: QuerySet[Row], after: timedelta = UNSENT_AFTER) -> QuerySet[Row]:
    """Rows whose message was never sent, or was sent longer than `after` ago."""
    return rows.filter(Q(sent=None) | Q(sent__lt=timezone.now() - after))
