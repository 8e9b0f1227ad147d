"""The events of a job, the notification that wakes those who watch it, and the message that its
worker gets.
"""

from collections.abc import Mapping
from typing import Any

from features import redaction
from features.models import Job, JobEvent
from features.queue import messages, notifications
from features.records import Metrics

TASK = "workers.run_job"


def note_state(job_id: int, state: str, note: str, by: Any = None, **data: Any) -> None:
    """Add a change of state to the events of a job; `by` is the person who made it."""
    event(job_id, JobEvent.Kind.STATE, {"state": str(state), "note": note, **data}, by)


def log(job_id: int, text: str, by: Any = None) -> None:
    """Add a line to the log of a job. Everyone may read it, so folders are left out."""
    event(job_id, JobEvent.Kind.LOG, {"text": redaction.without_folders(text)}, by)


def metrics(job_id: int, record: Metrics) -> None:
    """Add a row to the live charts of a job."""
    series = {"series": record.series} if record.series else {}
    event(job_id, JobEvent.Kind.METRICS, {"step": record.step, "values": record.values, **series})


def event(job_id: int, kind: JobEvent.Kind, data: Mapping[str, Any], by: Any = None) -> None:
    """Add an event to a job, and wake those who watch it."""
    JobEvent.objects.create(job_id=job_id, kind=kind, data=dict(data), by=str(by or ""))
    notify(job_id)


def notify(job_id: int) -> None:
    """Wake those who watch the job."""
    notifications.notify(notifications.Channel.JOB, job_id)


def send(job_id: int, queue: str) -> None:
    """Send the message of a job to its queue when the transaction commits."""
    messages.send(Job.objects.filter(pk=job_id), TASK, queue, [job_id])
