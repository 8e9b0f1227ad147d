"""What others are told of a job: its events, the NOTIFY that wakes who watches, and the message
that a worker gets.
"""

from collections.abc import Mapping
from typing import Any

from celery import current_app
from django.db import connection, transaction
from django.utils import timezone
from kombu.exceptions import OperationalError as BrokerDown

from features.models import Job, JobEvent

TASK = "workers.run_job"
CHANNEL = "featurescope_job"


def note_state(job_id: int, state: str, note: str, by: Any = None) -> None:
    """Add a change of state to the story of a job; `by` is the person who made it."""
    event(job_id, JobEvent.Kind.STATE, {"state": str(state), "note": note}, by)


def event(job_id: int, kind: JobEvent.Kind, data: Mapping[str, Any], by: Any = None) -> None:
    """Add to the story of a job, and wake who watches it."""
    JobEvent.objects.create(job_id=job_id, kind=kind, data=dict(data), by=str(by or ""))
    notify(job_id)


def notify(job_id: int) -> None:
    """Wake who watches the job."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, str(job_id)])


def send(job_id: int, queue: str) -> None:
    """Send the message after the commit. A broker that is down loses nothing: the row stays, and
    `reap` sends again.
    """
    Job.objects.filter(pk=job_id).update(sent=timezone.now())

    def send() -> None:
        try:
            current_app.send_task(TASK, args=[job_id], queue=queue, retry=False)
        except (OSError, BrokerDown):
            Job.objects.filter(pk=job_id).update(sent=None)

    transaction.on_commit(send)
