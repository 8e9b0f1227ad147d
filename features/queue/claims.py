"""Claims: one worker wins a row, and only that worker writes to it until it ends or the lease does.

Every change is a compare-and-set on the row, so no two workers can both win.
"""

from datetime import timedelta
from typing import Any, TypeVar

from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from features.models.queue import QueuedWork

Work = TypeVar("Work", bound=QueuedWork)


class LostLease(Exception):
    """Another worker holds the row, or it has ended: stop, and write nothing more."""


def claim(ready: QuerySet[Work], worker: str, lease: timedelta, **changes: Any) -> Work | None:
    """Give the first of these queued rows to `worker`; None where there is none.

    Rows that other workers are claiming at the same time are skipped.
    """
    now = timezone.now()
    claimed = {
        "state": QueuedWork.RUNNING,
        "worker": worker,
        "started": now,
        "lease_until": now + lease,
        "attempts": F("attempts") + 1,
    }
    with transaction.atomic():
        row: Work | None = ready.select_for_update(skip_locked=True, of=("self",)).first()
        if row is None:
            return None
        ready.model._default_manager.filter(pk=row.pk).update(**(claimed | changes))
    row.refresh_from_db()
    return row


def held(row: Work) -> QuerySet[Work]:
    """The row, if the attempt that claimed it still holds it; otherwise no rows."""
    return type(row)._default_manager.filter(
        pk=row.pk, state=QueuedWork.RUNNING, worker=row.worker, attempts=row.attempts
    )


def hold(row: QueuedWork, **changes: Any) -> None:
    """Write to a row that its worker holds. Raises `LostLease`."""
    require(held(row).update(**changes), row)


def end(row: QueuedWork, state: str, **changes: Any) -> None:
    """End work that its worker holds. Raises `LostLease`."""
    require(close(held(row), state, **changes), row)


def requeue(rows: QuerySet[Any], **changes: Any) -> int:
    """Put rows into the queue, for the first time or again; return how many."""
    return rows.update(state=QueuedWork.QUEUED, worker="", lease_until=None, **changes)


def close(rows: QuerySet[Any], state: str, **changes: Any) -> int:
    """End rows in a final state; return how many."""
    return rows.update(state=state, ended=timezone.now(), lease_until=None, **changes)


def require(changed: int, row: QueuedWork) -> None:
    """Raise `LostLease` where a compare-and-set changed nothing."""
    if not changed:
        raise LostLease(f"{row} no longer belongs to {row.worker}")
