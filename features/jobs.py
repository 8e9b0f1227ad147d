"""The life of a job: every change of state is a compare-and-set on its row, so no two workers can both win.

waiting -> queued -> running -> finished | failed | cancelled, and running -> queued where its worker died.
A Celery message carries only the id; one that is delivered twice, or late, finds nothing to claim.
"""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from celery import current_app
from django.db import connection, transaction
from django.db.models import BigIntegerField, Case, DateTimeField, F, Q, QuerySet, When
from django.utils import timezone
from kombu.exceptions import OperationalError as BrokerDown

from features.models import Job, JobEvent
from features.records import Metrics, Progress

TASK = "workers.run_job"
CHANNEL = "featurescope_job"
LEASE = timedelta(seconds=20)
MOST_ATTEMPTS = 5
FIRST_PAUSE = timedelta(seconds=10)
"""Before the first new try of what failed for a while; each further pause is three times as long."""
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
) -> Job:
    """Write a job with params that were validated already, and send its message when the transaction commits.

    A job `after` another waits for it: it is queued when that one finishes, and cancelled when it does not.
    """
    state = State.WAITING if after else State.QUEUED
    job = Job.objects.create(
        kind=kind, params=dict(params), queue=queue, created_by=by, after=after, state=state, priority=priority
    )
    _note_state(job.pk, state, f"by {by}" if by else "", by)
    if not after:
        _send(job.pk, queue)
    return job


def take(job_id: int, worker: str) -> Job | None:
    """Claim the job of a message, or a more urgent one that waits in the same queue; None where neither is to be had.

    Where another went first, the message is sent again: there are as many messages as jobs.
    """
    asked = Job.objects.filter(pk=job_id, state=State.QUEUED).first()
    if asked is None:
        return None
    rivals = _ready().filter(queue=asked.queue, priority__gt=asked.priority).order_by("-priority", "id")
    for pk in rivals.values_list("pk", flat=True)[:10]:
        if job := claim(pk, worker):
            _send(asked.pk, asked.queue)
            return job
    return claim(job_id, worker)


def claim(job_id: int, worker: str) -> Job | None:
    """Take a queued job for `worker`; None where it is not to be had, which is no error."""
    now = timezone.now()
    won = _ready().filter(pk=job_id).update(
        state=State.RUNNING, worker=worker, lease_until=now + LEASE, started=now, attempts=F("attempts") + 1, doing="starting",
        paced_from=None, paced_at=None,
    )  # fmt: skip
    if not won:
        return None
    _note_state(job_id, State.RUNNING, f"on {worker}")
    return Job.objects.get(pk=job_id)


def heartbeat(job: Job) -> bool:
    """Renew the lease; True where somebody asked to cancel. Raises `LostJob` where the lease is no longer ours."""
    _hold(job, lease_until=timezone.now() + LEASE)
    return Job.objects.values_list("cancel_requested", flat=True).get(pk=job.pk)


def progress(job: Job, record: Progress) -> None:
    """Say how far the job is. Raises `LostJob`.

    The pace is measured from the first telling of an attempt, so that loading and what an earlier attempt did do not
    count; it starts anew where the unit changes or the count goes back.
    """
    now = timezone.now()
    same = Q(unit=record.unit, paced_from__lte=record.done, done__lte=record.done)
    _hold(
        job, done=record.done, total=record.total, unit=record.unit, doing=record.note[:300], told=now,
        paced_from=Case(When(same, then=F("paced_from")), default=record.done, output_field=BigIntegerField()),
        paced_at=Case(When(same, then=F("paced_at")), default=now, output_field=DateTimeField()),
    )  # fmt: skip
    _notify(job.pk)


def metrics(job: Job, record: Metrics) -> None:
    """Add a row to the job's live charts."""
    _event(job.pk, JobEvent.Kind.METRICS, {"step": record.step, "values": record.values})


def log(job: Job, text: str) -> None:
    """Add a sentence to the job's log."""
    _event(job.pk, JobEvent.Kind.LOG, {"text": text})


def remember(job: Job, checkpoint: str) -> None:
    """Keep where the next attempt can resume from. Raises `LostJob`."""
    _hold(job, checkpoint=checkpoint)
    job.checkpoint = checkpoint


def finish(job: Job, result: Mapping[str, Any]) -> None:
    """End well and queue the jobs that waited for this one. Raises `LostJob`."""
    with transaction.atomic():
        _end(job, State.FINISHED, result=dict(result), doing="")
        for follower in Job.objects.select_for_update().filter(after=job, state=State.WAITING):
            Job.objects.filter(pk=follower.pk).update(state=State.QUEUED)
            _note_state(follower.pk, State.QUEUED, f"job {job.pk} finished")
            _send(follower.pk, follower.queue)


def fail(job: Job, error: str, field: str = "") -> None:
    """End badly, in words for the person who started it; jobs that waited are cancelled. Raises `LostJob`."""
    with transaction.atomic():
        _end(job, State.FAILED, error=error, error_field=field)
        _cancel_followers([job.pk])


def retry(job: Job, error: str, field: str = "") -> None:
    """Try again later what failed for a reason that may pass; fail where it was tried often enough. Raises `LostJob`."""
    tries = JobEvent.objects.filter(job=job, kind=JobEvent.Kind.STATE, data__retry=True).count()
    if tries >= MOST_ATTEMPTS - 1:
        return fail(job, f"{error} It was tried {tries + 1} times.", field)
    pause = FIRST_PAUSE * 3**tries
    with transaction.atomic():
        if _asked_to_stop(job):
            return stop(job)
        _hold(job, state=State.QUEUED, lease_until=None, worker="", not_before=timezone.now() + pause, doing="")
        note = f"{error} Trying again in {pause.total_seconds():.0f} s."
        _event(job.pk, JobEvent.Kind.STATE, {"state": str(State.QUEUED), "note": note, "retry": True})


def prioritise(job_id: int, priority: int, by: Any = None) -> bool:
    """Put a job that waits before or behind others. False where it has begun."""
    waiting = Job.objects.filter(pk=job_id, state__in=[State.WAITING, State.QUEUED]).exclude(priority=priority)
    if not waiting.update(priority=priority):
        return False
    name = Job.Priority(priority).label.partition(":")[0]
    _event(job_id, JobEvent.Kind.LOG, {"text": f"Priority {name}{f', by {by}' if by else ''}."}, by)
    return True


def stop(job: Job) -> None:
    """The worker obeyed a request to cancel. Raises `LostJob`."""
    with transaction.atomic():
        _end(job, State.CANCELLED)
        _cancel_followers([job.pk])


def release(job: Job, why: str) -> None:
    """Put a running job back in the queue, for a worker that must stop; end it where it was to be cancelled. Raises `LostJob`."""
    with transaction.atomic():
        if _asked_to_stop(job):
            return stop(job)  # queued, nobody could claim it
        _hold(job, state=State.QUEUED, lease_until=None, worker="", attempts=F("attempts") - 1)
        _note_state(job.pk, State.QUEUED, why)
        _send(job.pk, job.queue)


def cancel(job_id: int, by: Any = None) -> bool:
    """Ask a job to stop: at once where it is not running, within seconds where it is. False where it was over."""
    with transaction.atomic():
        Job.objects.select_for_update().filter(pk=job_id).first()  # its state stays as the first of these two finds it
        idle = Job.objects.filter(pk=job_id, state__in=[State.WAITING, State.QUEUED])
        if idle.update(state=State.CANCELLED, ended=timezone.now(), cancel_requested=True):
            _note_state(job_id, State.CANCELLED, f"by {by}" if by else "", by)
            _cancel_followers([job_id])
            return True
        asked = Job.objects.filter(pk=job_id, state=State.RUNNING, cancel_requested=False).update(cancel_requested=True)
        if asked:
            _event(job_id, JobEvent.Kind.LOG, {"text": f"Cancel requested{f' by {by}' if by else ''}."}, by)
        return bool(asked)


def reap(idle_queues: Iterable[str] = ()) -> list[int]:
    """Take back running jobs whose worker died, and send again what an idle worker should have got. Ids of the former."""
    now = timezone.now()
    reaped = []
    for job in Job.objects.filter(state=State.RUNNING, lease_until__lt=now):
        if _take_back(job):
            reaped.append(job.pk)
    unsent = Q(sent__isnull=True) | Q(sent__lt=now - UNSENT_AFTER)
    for pk, queue in _ready().filter(unsent, queue__in=list(idle_queues)).values_list("pk", "queue"):
        _send(pk, queue)
    return reaped


def _take_back(job: Job) -> bool:
    with transaction.atomic():
        seen = {"lease_until": job.lease_until, "cancel_requested": job.cancel_requested}
        lost = Job.objects.filter(pk=job.pk, state=State.RUNNING, **seen)
        if job.cancel_requested:
            taken = lost.update(state=State.CANCELLED, ended=timezone.now(), lease_until=None)
            state, note = State.CANCELLED, "its worker died after a request to cancel"
        elif job.attempts >= MOST_ATTEMPTS:
            error = f"Its worker died {job.attempts} times, last on {job.worker}. Look at that worker's log and memory."
            taken = lost.update(state=State.FAILED, ended=timezone.now(), lease_until=None, error=error)
            state, note = State.FAILED, error
        else:
            taken = lost.update(state=State.QUEUED, lease_until=None, worker="")
            then = "it goes on from its last checkpoint" if job.checkpoint else "it begins again"
            state, note = State.QUEUED, f"its worker {job.worker} died; {then}"
        if not taken:
            return False
        _note_state(job.pk, state, note)
        if state == State.QUEUED:
            _send(job.pk, job.queue)
        else:
            _cancel_followers([job.pk])
        return True


def _asked_to_stop(job: Job) -> bool:
    """Whether a person asked; until this transaction ends nobody can."""
    return bool(Job.objects.select_for_update().filter(pk=job.pk).values_list("cancel_requested", flat=True).first())


def _hold(job: Job, **changes: Any) -> None:
    if not Job.objects.filter(pk=job.pk, state=State.RUNNING, worker=job.worker).update(**changes):
        raise LostJob(f"job {job.pk} no longer belongs to {job.worker}")


def _end(job: Job, state: Job.State, **changes: Any) -> None:
    _hold(job, state=state, ended=timezone.now(), lease_until=None, **changes)
    _note_state(job.pk, state, changes.get("error", ""))


def _cancel_followers(ids: list[int]) -> None:
    while ids:
        waiting = Job.objects.filter(after__in=ids, state=State.WAITING)
        ids = list(waiting.values_list("pk", flat=True))
        Job.objects.filter(pk__in=ids, state=State.WAITING).update(state=State.CANCELLED, ended=timezone.now())
        for pk in ids:
            _note_state(pk, State.CANCELLED, "the job before it did not finish")


def _ready() -> QuerySet[Job]:
    """Queued jobs that a worker may take now."""
    due = Q(not_before=None) | Q(not_before__lte=timezone.now())
    return Job.objects.filter(due, state=State.QUEUED, cancel_requested=False)


def _note_state(job_id: int, state: str, note: str, by: Any = None) -> None:
    _event(job_id, JobEvent.Kind.STATE, {"state": str(state), "note": note}, by)


def _event(job_id: int, kind: JobEvent.Kind, data: Mapping[str, Any], by: Any = None) -> None:
    JobEvent.objects.create(job_id=job_id, kind=kind, data=dict(data), by=str(by or ""))
    _notify(job_id)


def _notify(job_id: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, str(job_id)])


def _send(job_id: int, queue: str) -> None:
    """Send the message after the commit. A broker that is down loses nothing: the row stays, and `reap` sends again."""
    Job.objects.filter(pk=job_id).update(sent=timezone.now())

    def send() -> None:
        try:
            current_app.send_task(TASK, args=[job_id], queue=queue, retry=False)
        except (OSError, BrokerDown):
            Job.objects.filter(pk=job_id).update(sent=None)

    transaction.on_commit(send)
