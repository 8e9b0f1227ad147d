"""The events of a job, the notification of its watchers, and the message for its worker."""

from collections.abc import Mapping
from typing import Any

from features import redaction
from features.models import Job, JobEvent
from features.queue import messages, notifications
from features.records import Metrics

TASK = "workers.run_job"


def note_state(job_id: int, state: str, note: str, by: Any = None, **data: Any) -> None:
    """Add a change of state to the events of a job; `by` is the user who made it."""
    add_event(job_id, JobEvent.Kind.STATE, {"state": str(state), "note": note, **data}, by)


def log(job_id: int, text: str, by: Any = None) -> None:
    """Add a line to the log of a job. It is public, so the paths of folders are removed."""
    add_event(job_id, JobEvent.Kind.LOG, {"text": redaction.without_folders(text)}, by)


def metrics(job_id: int, record: Metrics) -> None:
    """Add a row to the live charts of a job."""
    series = {"series": record.series} if record.series else {}
    add_event(
        job_id, JobEvent.Kind.METRICS, {"step": record.step, "values": record.values, **series}
    )


def add_event(job_id: int, kind: JobEvent.Kind, data: Mapping[str, Any], by: Any = None) -> None:
    """Add an event to a job, and notify its watchers."""
    JobEvent.objects.create(job_id=job_id, kind=kind, data=dict(data), by=str(by or ""))
    notify(job_id)


def notify(job_id: int) -> None:
    notifications.notify(notifications.Channel.JOB, job_id)


def send(job_id: int, queue: str) -> None:
    """Send the message of a job to its queue when the transaction commits."""
    messages.send(Job.objects.filter(pk=job_id), TASK, queue, [job_id])
