"""The life of a job: every change of state is a compare-and-set on its row, so no two workers can
both win.

waiting -> queued -> running -> finished | failed | cancelled, and running -> queued where the
worker crashed or an error was temporary. A waiting job may also fail or be cancelled, a queued job
may be cancelled. A trigger of the table refuses any other change. A job with parts waits until all
of them have finished; where one does not, the job fails and the others are cancelled. A Celery
message carries only the id; one that is delivered twice, or late, finds nothing to claim.

This module has what users do with a job, `execution` what its worker does, and `recovery` what
happens after that worker crashes.
"""

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from features.jobs import dependencies
from features.jobs import events as job_events
from features.models import Job
from features.queue.claims import close

State = Job.State


def create(
    kind: str,
    params: Mapping[str, Any],
    *,
    queue: str = "jobs",
    by: Any = None,
    after: Job | None = None,
    priority: int = Job.Priority.NORMAL,
    part_of: Job | None = None,
    in_parts: bool = False,
) -> Job:
    """Write a job with params that were validated already, and send its message when the
    transaction commits.

    A job `after` another waits for it: it is queued when that one finishes, and cancelled when it
    does not. A job that is created `in_parts` waits for the jobs that are `part_of` it, which the
    caller creates in the same transaction.
    """
    state = State.WAITING if after or in_parts else State.QUEUED
    job = Job.objects.create(
        kind=kind,
        params=dict(params),
        queue=queue,
        created_by=by,
        after=after,
        state=state,
        priority=priority,
        part_of=part_of,
    )
    job_events.note_state(job.pk, state, f"by {by}" if by else "", by)
    if state == State.QUEUED:
        job_events.send(job.pk, queue)
    return job


def prioritise(job_id: int, priority: int, by: Any = None) -> bool:
    """Change the priority of a job that has not started. False where it has."""
    idle = Job.objects.filter(state__in=Job.IDLE)
    if not idle.filter(pk=job_id).exclude(priority=priority).update(priority=priority):
        return False
    idle.filter(part_of=job_id).update(priority=priority)
    name = Job.Priority(priority).label.partition(":")[0]
    job_events.log(job_id, f"Priority {name}{f', by {by}' if by else ''}.", by)
    return True


def cancel(job_id: int, by: Any = None) -> bool:
    """Cancel a job: at once where it is not running, within seconds where it is. False where it has
    ended.

    Cancelling a part cancels the whole, and with it all other parts.
    """
    part = Job.objects.filter(pk=job_id).exclude(state__in=Job.FINAL).first()
    if part and part.part_of_id:
        return cancel(part.part_of_id, by)
    with transaction.atomic():
        # locked, so that the state cannot change between the two updates
        Job.objects.select_for_update().filter(pk=job_id).first()
        idle = Job.objects.filter(pk=job_id, state__in=Job.IDLE)
        if close(idle, State.CANCELLED, cancel_requested=True):
            job_events.note_state(job_id, State.CANCELLED, f"by {by}" if by else "", by)
            dependencies.cancel_parts(job_id, "with the job that it is a part of")
            dependencies.cancel_followers([job_id])
            return True
        running = Job.objects.filter(pk=job_id, state=State.RUNNING, cancel_requested=False)
        requested = running.update(cancel_requested=True)
        if requested:
            job_events.log(job_id, f"Cancel requested{f' by {by}' if by else ''}.", by)
        return bool(requested)
