"""The life of a job: every change of state is a compare-and-set on its row, so no two workers can
both win.

waiting -> queued -> running -> finished | failed | cancelled, and running -> queued where its
worker died or failed for a while; what waits may fail or be cancelled, what is queued be cancelled.
A trigger of the table refuses any other change. A job with parts waits until all of them have
finished; where one does not, the job fails and the others are cancelled. A Celery message carries
only the id; one that is delivered twice, or late, finds nothing to claim.
"""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Case, Exists, F, OuterRef, Q, QuerySet, When
from django.db.models.functions import Coalesce
from django.utils import timezone

from features import redaction
from features.jobs import dependencies
from features.jobs import events as job_events
from features.models import Job, JobEvent
from features.records import Metrics, Progress

MOST_ATTEMPTS = 5
FIRST_PAUSE = timedelta(seconds=10)
"""Before the first new try of what failed for a while; each further pause is three times as long.
"""
UNSENT_AFTER = timedelta(seconds=5)

State = Job.State


class LostJob(Exception):
    """The lease went to another worker, or the job ended: stop, and write nothing more."""


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
    does not. A job that is made `in_parts` waits for the jobs that are `part_of` it, which the
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


def take(job_id: int, worker: str) -> Job | None:
    """Claim the job of a message, or a more urgent one that waits in the same queue; None where
    neither is to be had.

    Where another went first, the message is sent again: there are as many messages as jobs.
    """
    asked = Job.objects.filter(pk=job_id, state=State.QUEUED).first()
    if asked is None:
        return None
    rivals = (
        _ready().filter(queue=asked.queue, priority__gt=asked.priority).order_by("-priority", "id")
    )
    for pk in rivals.values_list("pk", flat=True)[:10]:
        if job := claim(pk, worker):
            job_events.send(asked.pk, asked.queue)
            return job
    return claim(job_id, worker)


def claim(job_id: int, worker: str) -> Job | None:
    """Take a queued job for `worker`; None where it is not to be had, which is no error."""
    now = timezone.now()
    since_its_parts = When(
        Exists(Job.objects.filter(part_of=OuterRef("pk"))), then=Coalesce(F("started"), now)
    )
    won = (
        _ready()
        .filter(pk=job_id)
        .update(
            state=State.RUNNING,
            worker=worker,
            lease_until=now + _lease(),
            started=Case(since_its_parts, default=now),
            attempts=F("attempts") + 1,
            doing="starting",
            paced_from=None,
            paced_at=None,
        )
    )
    if not won:
        return None
    job_events.note_state(job_id, State.RUNNING, f"on {worker}")
    job = Job.objects.get(pk=job_id)
    Job.objects.filter(pk=job.part_of_id or 0, started=None).update(started=now)
    return job


def heartbeat(job: Job) -> bool:
    """Renew the lease; True where somebody asked to cancel. Raises `LostJob` where the lease is no
    longer ours.
    """
    _hold(job, lease_until=timezone.now() + _lease())
    return Job.objects.values_list("cancel_requested", flat=True).get(pk=job.pk)


def progress(job: Job, record: Progress) -> None:
    """Say how far the job is. Raises `LostJob`.

    The pace is measured from the first telling of an attempt, so that loading and what an earlier
    attempt did do not count; it starts anew where the unit changes or the count goes back.
    """
    _hold(job, **dependencies.told(record))
    job_events.notify(job.pk)
    if job.part_of_id:
        dependencies.progress_of_whole(job.part_of_id, record)


def metrics(job: Job, record: Metrics) -> None:
    """Add a row to the job's live charts."""
    series = {"series": record.series} if record.series else {}
    job_events.event(
        job.pk, JobEvent.Kind.METRICS, {"step": record.step, "values": record.values, **series}
    )


def log(job: Job, text: str) -> None:
    """Add a sentence to the job's log, which everyone may read: where files lie is left out."""
    job_events.event(job.pk, JobEvent.Kind.LOG, {"text": redaction.without_folders(text)})


def remember(job: Job, checkpoint: str) -> None:
    """Keep where the next attempt can resume from. Raises `LostJob`."""
    _hold(job, checkpoint=checkpoint)
    job.checkpoint = checkpoint


def wrote(job: Job, written: Mapping[str, int]) -> None:
    """Keep how far what the job makes is in the database, in the transaction that writes it. Raises
    `LostJob`.
    """
    _hold(job, written=dict(written))
    job.written = dict(written)


def finish(job: Job, result: Mapping[str, Any]) -> None:
    """End well and queue the jobs that waited for this one, and the whole whose last part it was.
    Raises `LostJob`.
    """
    with transaction.atomic():
        dependencies.lock_whole(job)
        _end(job, State.FINISHED, result=dict(result), doing="")
        alone = ~Exists(Job.objects.filter(part_of=OuterRef("pk")))
        waiting = Job.objects.select_for_update().filter(alone, after=job, state=State.WAITING)
        for follower in waiting.order_by("id"):
            dependencies.queue(follower, f"job {job.pk} finished")
        dependencies.tell_whole(job, State.FINISHED)


def fail(job: Job, error: str, field: str = "") -> None:
    """End badly, in words for the person who started it; jobs that waited are cancelled. Raises
    `LostJob`.
    """
    error = redaction.without_folders(error)
    with transaction.atomic():
        dependencies.lock_whole(job)
        _end(job, State.FAILED, error=error, error_field=field)
        dependencies.cancel_followers([job.pk])
        dependencies.tell_whole(job, State.FAILED, error, field)


def retry(job: Job, error: str, field: str = "") -> None:
    """Try again later what failed for a reason that may pass; fail where it was tried often enough.
    Raises `LostJob`.
    """
    tries = JobEvent.objects.filter(job=job, kind=JobEvent.Kind.STATE, data__retry=True).count()
    if tries >= MOST_ATTEMPTS - 1:
        return fail(job, f"{error} It was tried {tries + 1} times.", field)
    pause = FIRST_PAUSE * 3**tries
    with transaction.atomic():
        dependencies.lock_whole(job)
        if _asked_to_stop(job):
            return stop(job)
        _hold(
            job,
            state=State.QUEUED,
            lease_until=None,
            worker="",
            not_before=timezone.now() + pause,
            doing="",
        )
        note = f"{redaction.without_folders(error)} Trying again in {pause.total_seconds():.0f} s."
        job_events.event(
            job.pk, JobEvent.Kind.STATE, {"state": str(State.QUEUED), "note": note, "retry": True}
        )


def prioritise(job_id: int, priority: int, by: Any = None) -> bool:
    """Put a job that waits before or behind others. False where it has begun."""
    waiting = Job.objects.filter(pk=job_id, state__in=[State.WAITING, State.QUEUED]).exclude(
        priority=priority
    )
    if not waiting.update(priority=priority):
        return False
    Job.objects.filter(part_of=job_id, state__in=[State.WAITING, State.QUEUED]).update(
        priority=priority
    )
    name = Job.Priority(priority).label.partition(":")[0]
    job_events.event(
        job_id, JobEvent.Kind.LOG, {"text": f"Priority {name}{f', by {by}' if by else ''}."}, by
    )
    return True


def stop(job: Job) -> None:
    """The worker obeyed a request to cancel. Raises `LostJob`."""
    with transaction.atomic():
        dependencies.lock_whole(job)
        _end(job, State.CANCELLED)
        dependencies.cancel_followers([job.pk])
        dependencies.tell_whole(job, State.CANCELLED)


def release(job: Job, why: str) -> None:
    """Put a running job back in the queue, for a worker that must stop; end it where it was to be
    cancelled. Raises `LostJob`.
    """
    with transaction.atomic():
        dependencies.lock_whole(job)
        if _asked_to_stop(job):
            return stop(job)  # queued, nobody could claim it
        _hold(job, state=State.QUEUED, lease_until=None, worker="", attempts=F("attempts") - 1)
        job_events.note_state(job.pk, State.QUEUED, why)
        job_events.send(job.pk, job.queue)


def cancel(job_id: int, by: Any = None) -> bool:
    """Ask a job to stop: at once where it is not running, within seconds where it is. False where
    it was over.

    A part is nothing alone: with it the whole is cancelled, and with the whole all of its parts.
    """
    part = Job.objects.filter(pk=job_id).exclude(state__in=Job.FINAL).first()
    if part and part.part_of_id:
        return cancel(part.part_of_id, by)
    with transaction.atomic():
        Job.objects.select_for_update().filter(
            pk=job_id
        ).first()  # its state stays as the first of these two finds it
        idle = Job.objects.filter(pk=job_id, state__in=[State.WAITING, State.QUEUED])
        if idle.update(state=State.CANCELLED, ended=timezone.now(), cancel_requested=True):
            job_events.note_state(job_id, State.CANCELLED, f"by {by}" if by else "", by)
            dependencies.cancel_parts(job_id, "with the job that it is a part of")
            dependencies.cancel_followers([job_id])
            return True
        asked = Job.objects.filter(pk=job_id, state=State.RUNNING, cancel_requested=False).update(
            cancel_requested=True
        )
        if asked:
            job_events.event(
                job_id,
                JobEvent.Kind.LOG,
                {"text": f"Cancel requested{f' by {by}' if by else ''}."},
                by,
            )
        return bool(asked)


def reap(idle_queues: Iterable[str] = ()) -> list[int]:
    """Take back running jobs whose worker died, and send again what an idle worker should have got.
    Ids of the former.
    """
    now = timezone.now()
    reaped = []
    for job in Job.objects.filter(state=State.RUNNING, lease_until__lt=now):
        if _take_back(job):
            reaped.append(job.pk)
    unsent = Q(sent__isnull=True) | Q(sent__lt=now - UNSENT_AFTER)
    for pk, queue in (
        _ready().filter(unsent, queue__in=list(idle_queues)).values_list("pk", "queue")
    ):
        job_events.send(pk, queue)
    return reaped


def _take_back(job: Job) -> bool:
    with transaction.atomic():
        dependencies.lock_whole(job)
        seen = {"lease_until": job.lease_until, "cancel_requested": job.cancel_requested}
        lost = Job.objects.filter(pk=job.pk, state=State.RUNNING, **seen)
        if job.cancel_requested:
            taken = lost.update(state=State.CANCELLED, ended=timezone.now(), lease_until=None)
            state, note = State.CANCELLED, "its worker died after a request to cancel"
        elif job.attempts >= MOST_ATTEMPTS:
            error = (
                f"Its worker died {job.attempts} times, last on {job.worker}. Look at that "
                "worker's log and memory."
            )
            taken = lost.update(
                state=State.FAILED, ended=timezone.now(), lease_until=None, error=error
            )
            state, note = State.FAILED, error
        else:
            taken = lost.update(state=State.QUEUED, lease_until=None, worker="")
            then = (
                "it goes on from its last checkpoint"
                if job.checkpoint or job.written
                else "it begins again"
            )
            state, note = State.QUEUED, f"its worker {job.worker} died; {then}"
        if not taken:
            return False
        job_events.note_state(job.pk, state, note)
        if state == State.QUEUED:
            job_events.send(job.pk, job.queue)
        else:
            dependencies.cancel_followers([job.pk])
            dependencies.tell_whole(job, state, note)
        return True


def _asked_to_stop(job: Job) -> bool:
    """Whether a person asked; until this transaction ends nobody can."""
    return bool(
        Job.objects.select_for_update()
        .filter(pk=job.pk)
        .values_list("cancel_requested", flat=True)
        .first()
    )


def _hold(job: Job, **changes: Any) -> None:
    if not Job.objects.filter(pk=job.pk, state=State.RUNNING, worker=job.worker).update(**changes):
        raise LostJob(f"job {job.pk} no longer belongs to {job.worker}")


def _end(job: Job, state: Job.State, **changes: Any) -> None:
    _hold(job, state=state, ended=timezone.now(), lease_until=None, **changes)
    job_events.note_state(job.pk, state, changes.get("error", ""))


def _lease() -> timedelta:
    """For so long a worker may say nothing."""
    return timedelta(seconds=settings.LEASE_SECONDS)


def _ready() -> QuerySet[Job]:
    """Queued jobs that a worker may take now."""
    due = Q(not_before=None) | Q(not_before__lte=timezone.now())
    return Job.objects.filter(due, state=State.QUEUED, cancel_requested=False)
