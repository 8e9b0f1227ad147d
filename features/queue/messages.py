"""Messages to the workers through Celery. The state is in the rows: a message only names one, and a
lost message is sent again (`leases.unsent`).
"""

from collections.abc import Sequence
from typing import Any

from celery import current_app
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from kombu.exceptions import OperationalError as BrokerDown


def send(rows: QuerySet[Any], task: str, queue: str, args: Sequence[Any] = ()) -> None:
    """Send the message of these rows when the transaction commits."""
    rows.update(sent=timezone.now())
    transaction.on_commit(lambda: send_now(rows, task, queue, args))


def send_now(rows: QuerySet[Any], task: str, queue: str, args: Sequence[Any] = ()) -> bool:
    """Send the message of these rows. Where the broker is down, clear `sent` and return False."""
    try:
        current_app.send_task(task, args=list(args), queue=queue, retry=False)
    except (OSError, BrokerDown):
        rows.update(sent=None)
        return False
    return True
