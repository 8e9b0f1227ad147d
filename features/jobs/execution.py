"""What a worker does with a job: claim it, report how far it is, and end it.

Each function that takes a claimed job raises `LostLease` where another worker holds it.
"""

from collections.abc import Mapping
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
from features.queue import claims, leases
from features.records import Progress

MAX_ATTEMPTS = 5
FIRST_PAUSE = timedelta(seconds=10)
"""Before the first retry after a temporary error; each further pause is three times as long."""

State = Job.State


def ready() -> QuerySet[Job]:
    """Queued jobs that a worker may claim now."""
    due = Q(not_before=None) | Q(not_before__lte=timezone.now())
    return Job.objects.filter(due, state=State.QUEUED, cancel_requested=False)


def claim_next(job_id: int, worker: str) -> Job | None:
    """Claim the job of a message, or a more urgent one that waits in the same queue; None where
    neither can be claimed.

    Where a more urgent job is claimed, the message is sent again: each queued job has one message.
    """
    sent = Job.objects.filter(pk=job_id, state=State.QUEUED).first()
    if sent is None:
        return None
    urgent = Q(queue=sent.queue, priority__gt=sent.priority)
    job = _claim(ready().filter(Q(pk=sent.pk) | urgent).order_by("-priority", "id"), worker)
    if job and job.pk != sent.pk:
        job_events.send(sent.pk, sent.queue)
    return job


def claim(job_id: int, worker: str) -> Job | None:
    """Claim a queued job for `worker`; None where it cannot be claimed, which is no error."""
    return _claim(ready().filter(pk=job_id), worker)


def _claim(jobs: QuerySet[Job], worker: str) -> Job | None:
    now = timezone.now()
    parts = Job.objects.filter(part_of=OuterRef("pk"))
    started = Case(When(Exists(parts), then=Coalesce(F("started"), now)), default=now)
    job = claims.claim(
        jobs,
        worker,
        _lease(),
        started=started,
        doing="starting",
        rate_done=None,
        rate_at=None,
    )
    if job is None:
        return None
    job_events.note_state(job.pk, State.RUNNING, f"on {worker}")
    Job.objects.filter(pk=job.part_of_id or 0, started=None).update(started=now)
    return job


def renew_lease(job: Job) -> bool:
    """Renew the lease; True where a user asked to cancel."""
    leases.renew(job, _lease())
    return Job.objects.values_list("cancel_requested", flat=True).get(pk=job.pk)


def write_progress(job: Job, record: Progress) -> None:
    """Write how far the job is.

    The rate is measured from the first progress of an attempt, so that loading and earlier attempts
    do not count. It restarts where the unit changes or the count decreases.
    """
    claims.hold(job, **dependencies.progress_columns(record))
    job_events.notify(job.pk)
    if job.part_of_id:
        dependencies.write_progress_of_whole(job.part_of_id, record)


def store_checkpoint(job: Job, checkpoint: str) -> None:
    """Write where the next attempt can resume from."""
    claims.hold(job, checkpoint=checkpoint)
    job.checkpoint = checkpoint


def store_written(job: Job, written: Mapping[str, int]) -> None:
    """Write how far the results of the job are in the database, in the transaction that writes
    them.
    """
    claims.hold(job, written=dict(written))
    job.written = dict(written)


def store_result(job: Job, result: Mapping[str, Any]) -> None:
    """Write what a job that is about to fail wrote and spent, in the transaction that writes it."""
    claims.hold(job, result=dict(result))


def finish(job: Job, result: Mapping[str, Any]) -> None:
    """End a job that succeeded; queue its followers, and the whole after its last part."""
    with transaction.atomic():
        dependencies.lock_whole(job)
        _end(job, State.FINISHED, result=dict(result), doing="")
        dependencies.queue_followers(job)
        dependencies.update_whole(job, State.FINISHED)


def fail(job: Job, error: str, field: str = "") -> None:
    """End a job that failed, with a message for its user; jobs that waited for it are cancelled."""
    error = redaction.without_folders(error)
    with transaction.atomic():
        dependencies.lock_whole(job)
        _end(job, State.FAILED, error=error, error_field=field)
        dependencies.cancel_followers([job.pk])
        dependencies.update_whole(job, State.FAILED, error, field)


def end_cancelled(job: Job) -> None:
    """End a job that stopped because it was asked to cancel."""
    with transaction.atomic():
        dependencies.lock_whole(job)
        _end(job, State.CANCELLED)
        dependencies.cancel_followers([job.pk])
        dependencies.update_whole(job, State.CANCELLED)


def retry(job: Job, error: str, field: str = "") -> None:
    """Queue a job again after a temporary error; fail it after `MAX_ATTEMPTS`."""
    tries = JobEvent.objects.filter(job=job, kind=JobEvent.Kind.STATE, data__retry=True).count()
    if tries >= MAX_ATTEMPTS - 1:
        return fail(job, f"{error} It was tried {tries + 1} times.", field)
    pause = FIRST_PAUSE * 3**tries
    note = f"{redaction.without_folders(error)} Trying again in {pause.total_seconds():.0f} s."
    with transaction.atomic():
        dependencies.lock_whole(job)
        if _cancel_requested(job):
            return end_cancelled(job)
        _requeue(job, not_before=timezone.now() + pause, doing="")
        job_events.note_state(job.pk, State.QUEUED, note, retry=True)


def release(job: Job, reason: str) -> None:
    """Put a running job back in the queue because its worker stops; end it where a user asked to
    cancel.
    """
    with transaction.atomic():
        dependencies.lock_whole(job)
        if _cancel_requested(job):
            return end_cancelled(job)  # a queued job with this flag is never claimed
        _requeue(job, attempts=F("attempts") - 1)
        job_events.note_state(job.pk, State.QUEUED, reason)
        job_events.send(job.pk, job.queue)


def _requeue(job: Job, **changes: Any) -> None:
    claims.require(claims.requeue(claims.held(job), **changes), job)


def _end(job: Job, state: Job.State, **changes: Any) -> None:
    claims.end(job, state, **changes)
    job_events.note_state(job.pk, state, changes.get("error", ""))


def _cancel_requested(job: Job) -> bool:
    """Whether a user asked to cancel. The row is locked until the transaction ends."""
    locked = Job.objects.select_for_update().filter(pk=job.pk)
    return bool(locked.values_list("cancel_requested", flat=True).first())


def _lease() -> timedelta:
    """How long a worker may hold a job without renewing its lease."""
    return timedelta(seconds=settings.LEASE_SECONDS)
