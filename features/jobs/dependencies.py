"""Jobs that depend on other jobs: followers wait for the job before them, a whole waits for its
parts.

These functions run inside the transaction that changes a job's state. Code that changes a part and
its whole locks the row of the whole first (`lock_whole`).
"""

import sys
from typing import Any

from django.db.models import BigIntegerField, Case, DateTimeField, Exists, F, OuterRef, Q, When
from django.utils import timezone

from features.jobs import events as job_events
from features.models import Job
from features.queue.claims import close, requeue
from features.records import Progress

State = Job.State


def queue_followers(job: Job) -> None:
    """Queue the jobs that waited for this one, except those that now wait for their parts."""
    has_parts = Exists(Job.objects.filter(part_of=OuterRef("pk")))
    waiting = Job.objects.select_for_update().filter(~has_parts, after=job, state=State.WAITING)
    for follower in waiting.order_by("id"):
        _queue(follower, f"job {job.pk} finished")


def cancel_followers(ids: list[int]) -> None:
    """Cancel the jobs that wait for these, and those that wait for them."""
    while ids:
        waiting = Job.objects.filter(after__in=ids, state=State.WAITING)
        ids = list(waiting.values_list("pk", flat=True))
        close(Job.objects.filter(pk__in=ids, state=State.WAITING), State.CANCELLED)
        for pk in ids:
            job_events.note_state(pk, State.CANCELLED, "the job before it did not finish")


def lock_whole(job: Job) -> None:
    """Lock the job that this is a part of until the transaction ends, so that of two parts that
    finish at once one is the last.
    """
    list(Job.objects.select_for_update().filter(pk=job.part_of_id or 0))


def update_whole(part: Job, state: str, error: str = "", field: str = "") -> None:
    """Update the whole of a part that ended: queue it after the last part, end it where a part did
    not finish.
    """
    whole = Job.objects.filter(pk=part.part_of_id or 0).first()
    if whole is None:
        return
    if state == State.FINISHED:
        job_events.log(whole.pk, f"Its part, job {part.pk}, finished.")
        if whole.state == State.WAITING and not whole.parts.exclude(state=State.FINISHED).exists():
            _queue(whole, "all of its parts finished")
    elif whole.state == State.WAITING:
        reason = f"Its part, job {part.pk}, failed: {error}" if state == State.FAILED else ""
        close(Job.objects.filter(pk=whole.pk), state, error=reason, error_field=field)
        job_events.note_state(whole.pk, state, reason or "with one of its parts")
        cancel_parts(whole.pk, f"job {part.pk}, another part of it, did not finish")
        cancel_followers([whole.pk])


def cancel_parts(job_id: int, reason: str) -> None:
    """Cancel the live parts of a job: at once where they wait, within seconds where they run."""
    live = Job.objects.filter(part_of=job_id).exclude(state__in=Job.FINAL)
    for pk in live.select_for_update().order_by("id").values_list("pk", flat=True):
        part = Job.objects.filter(pk=pk)
        if close(part.filter(state__in=Job.IDLE), State.CANCELLED, cancel_requested=True):
            job_events.note_state(pk, State.CANCELLED, reason)
        else:
            part.update(cancel_requested=True)
            job_events.log(pk, f"Cancel requested: {reason}.")


def write_progress_of_whole(job_id: int, record: Progress) -> None:
    """Write the total progress of the parts; parts that have not started count with the mean total
    of the others.
    """
    params = Job.objects.values_list("params", flat=True).get(pk=job_id)
    limit = params.get("tokens", sys.maxsize)
    rows = list(Job.objects.filter(part_of=job_id).values_list("done", "total", "state"))
    totals = [total for _, total, _ in rows if total]
    running = sum(state == State.RUNNING for _, _, state in rows)
    changes = progress_columns(
        Progress(
            sum(done for done, _, _ in rows),
            min(sum(totals) * len(rows) // max(len(totals), 1), limit),
            record.unit,
            f"{record.note}: {running} of {len(rows)} parts running",
        )
    )
    if Job.objects.filter(pk=job_id, state=State.WAITING).update(**changes):
        job_events.notify(job_id)


def progress_columns(record: Progress) -> dict[str, Any]:
    """The columns of a job for this progress; `execution.write_progress` describes the rate."""
    now = timezone.now()
    same = Q(unit=record.unit, rate_done__lte=record.done, done__lte=record.done)
    return {
        "done": record.done,
        "total": record.total,
        "unit": record.unit,
        "doing": record.note[:300],
        "progress_at": now,
        "rate_done": Case(
            When(same, then=F("rate_done")), default=record.done, output_field=BigIntegerField()
        ),
        "rate_at": Case(When(same, then=F("rate_at")), default=now, output_field=DateTimeField()),
    }


def _queue(job: Job, reason: str) -> None:
    requeue(Job.objects.filter(pk=job.pk))
    job_events.note_state(job.pk, State.QUEUED, reason)
    job_events.send(job.pk, job.queue)
