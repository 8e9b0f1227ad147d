"""Jobs whose worker crashed, and messages that were lost. Any number of workers may run these
functions at once.
"""

from collections.abc import Iterable

from django.db import transaction

from features.jobs import dependencies
from features.jobs import events as job_events
from features.jobs.execution import MAX_ATTEMPTS, ready
from features.models import Job
from features.queue import leases
from features.queue.claims import close, requeue

State = Job.State


def reap(idle_queues: Iterable[str] = ()) -> list[int]:
    """Take back running jobs whose worker crashed, and send the messages of queued jobs again where
    a worker of their queue is idle. Returns the ids of the former.
    """
    reaped = [job.pk for job in leases.expired(Job.objects.all()) if take_back(job)]
    unsent = leases.unsent(ready()).filter(queue__in=list(idle_queues))
    for pk, queue in unsent.values_list("pk", "queue"):
        job_events.send(pk, queue)
    return reaped


def take_back(job: Job) -> bool:
    """Queue or end a job whose lease has ended; False where it changed meanwhile."""
    with transaction.atomic():
        dependencies.lock_whole(job)
        state, note = _next_state(job)
        unchanged = Job.objects.filter(
            pk=job.pk,
            state=State.RUNNING,
            lease_until=job.lease_until,
            cancel_requested=job.cancel_requested,
        )
        error = {"error": note} if state == State.FAILED else {}
        changed = requeue(unchanged) if state == State.QUEUED else close(unchanged, state, **error)
        if not changed:
            return False
        job_events.note_state(job.pk, state, note)
        if state == State.QUEUED:
            job_events.send(job.pk, job.queue)
        else:
            dependencies.cancel_followers([job.pk])
            dependencies.update_whole(job, state, note)
        return True


def _next_state(job: Job) -> tuple[Job.State, str]:
    """The next state of a job whose worker crashed, and the note for its log."""
    if job.cancel_requested:
        return State.CANCELLED, "its worker crashed after a request to cancel"
    if job.attempts >= MAX_ATTEMPTS:
        return State.FAILED, (
            f"Its worker crashed {job.attempts} times, last on {job.worker}. Check that "
            "worker's log and memory."
        )
    resumable = job.checkpoint or job.written
    next_step = "it resumes from its last checkpoint" if resumable else "it starts again"
    return State.QUEUED, f"its worker {job.worker} crashed; {next_step}"
