"""What hangs together: jobs that wait for another, and the parts that a whole waits for.

These are called inside the transaction that changes a job's state. Whoever changes a part and its
whole takes the row of the whole first (`lock_whole`).
"""

import sys
from typing import Any

from django.db.models import BigIntegerField, Case, DateTimeField, F, Q, When
from django.utils import timezone

from features.jobs import events as job_events
from features.models import Job, JobEvent
from features.records import Progress

State = Job.State


def queue(job: Job, why: str) -> None:
    """Queue a job that waited."""
    Job.objects.filter(pk=job.pk).update(state=State.QUEUED)
    job_events.note_state(job.pk, State.QUEUED, why)
    job_events.send(job.pk, job.queue)


def cancel_followers(ids: list[int]) -> None:
    """Cancel the jobs that wait for these, and those that wait for them."""
    while ids:
        waiting = Job.objects.filter(after__in=ids, state=State.WAITING)
        ids = list(waiting.values_list("pk", flat=True))
        Job.objects.filter(pk__in=ids, state=State.WAITING).update(
            state=State.CANCELLED, ended=timezone.now()
        )
        for pk in ids:
            job_events.note_state(pk, State.CANCELLED, "the job before it did not finish")


def lock_whole(job: Job) -> None:
    """Keep the job that this is a part of as it is, until the transaction ends: of two last parts
    one is the last.
    """
    list(Job.objects.select_for_update().filter(pk=job.part_of_id or 0))


def tell_whole(part: Job, state: str, error: str = "", field: str = "") -> None:
    """Go on with the job that this ended part is of: queue it after the last part, end it where a
    part did not finish.
    """
    whole = Job.objects.filter(pk=part.part_of_id or 0).first()
    if whole is None:
        return
    if state == State.FINISHED:
        job_events.event(
            whole.pk, JobEvent.Kind.LOG, {"text": f"Its part, job {part.pk}, finished."}
        )
        if whole.state == State.WAITING and not whole.parts.exclude(state=State.FINISHED).exists():
            queue(whole, "all of its parts finished")
    elif whole.state == State.WAITING:
        said = f"Its part, job {part.pk}, failed: {error}" if state == State.FAILED else ""
        ended = {"state": state, "ended": timezone.now(), "error": said, "error_field": field}
        Job.objects.filter(pk=whole.pk).update(**ended)
        job_events.note_state(whole.pk, state, said or "with one of its parts")
        cancel_parts(whole.pk, f"job {part.pk}, another part of it, did not finish")
        cancel_followers([whole.pk])


def cancel_parts(job_id: int, why: str) -> None:
    """Cancel the parts of a job that are not over: at once where they wait, soon where they run."""
    live = Job.objects.filter(part_of=job_id).exclude(state__in=Job.FINAL)
    for pk in live.select_for_update().order_by("id").values_list("pk", flat=True):
        idle = Job.objects.filter(pk=pk, state__in=[State.WAITING, State.QUEUED])
        if idle.update(state=State.CANCELLED, ended=timezone.now(), cancel_requested=True):
            job_events.note_state(pk, State.CANCELLED, why)
        else:
            Job.objects.filter(pk=pk).update(cancel_requested=True)
            job_events.event(pk, JobEvent.Kind.LOG, {"text": f"Cancel requested: {why}."})


def progress_of_whole(job_id: int, record: Progress) -> None:
    """What the parts have done together; those that did not begin yet have as much to do as the
    others.
    """
    asked = Job.objects.values_list("params", flat=True).get(pk=job_id).get("tokens", sys.maxsize)
    rows = list(Job.objects.filter(part_of=job_id).values_list("done", "total", "state"))
    begun = [total for _, total, _ in rows if total]
    now = sum(state == State.RUNNING for _, _, state in rows)
    changes = told(
        Progress(
            sum(done for done, _, _ in rows),
            min(sum(begun) * len(rows) // max(len(begun), 1), asked),
            record.unit,
            f"{record.note}: {now} of {len(rows)} parts at work",
        )
    )
    if Job.objects.filter(pk=job_id, state=State.WAITING).update(**changes):
        job_events.notify(job_id)


def told(record: Progress) -> dict[str, Any]:
    """Columns of a job that tell its progress; see `jobs.progress` for its pace."""
    now = timezone.now()
    same = Q(unit=record.unit, paced_from__lte=record.done, done__lte=record.done)
    return {
        "done": record.done,
        "total": record.total,
        "unit": record.unit,
        "doing": record.note[:300],
        "told": now,
        "paced_from": Case(
            When(same, then=F("paced_from")), default=record.done, output_field=BigIntegerField()
        ),
        "paced_at": Case(When(same, then=F("paced_at")), default=now, output_field=DateTimeField()),
    }
