"""Starting jobs: validate, write the row, and queue what follows."""

from collections.abc import Collection, Iterable, Mapping
from functools import partial
from typing import Any

from django.db import connection, transaction

from features.jobs import events as job_events
from features.jobs import lifecycle
from features.jobs.forms import JOB_FORMS, FollowUp, JobForm
from features.jobs.forms.placement import as_placed, validate_placement
from features.models import Job
from features.records import InvalidParams


@transaction.atomic
def start(
    kind: str,
    data: Mapping[str, Any],
    *,
    by: Any = None,
    after: Job | None = None,
    promised: Collection[str] = (),
    placing: Mapping[str, Any] | None = None,
    follow_ups: Iterable[FollowUp] | None = None,
) -> Job:
    """Validate `data` with the kind's form and queue the job, with the jobs that follow it: those
    of its form, or `follow_ups` where these are given.

    `placing` holds the fields of `features.jobs.forms.placement.Placing`; the jobs that follow take
    the same place. `promised` names what earlier jobs of the chain will make. Raises
    `InvalidParams` before anything is written.
    """
    if kind not in JOB_FORMS:
        raise InvalidParams(
            {"kind": [f"There is no kind “{kind}”. Known: {', '.join(JOB_FORMS)}."]}
        )
    _one_at_a_time()
    form = JOB_FORMS[kind]
    params = form.checked(data, promised=promised).params()
    job = _create(form, params, placing or {}, by, after)
    promised = {*promised, *form.promises(params)}
    for following in form.follow_ups(params) if follow_ups is None else follow_ups:
        start(
            following.kind,
            following.data,
            by=by,
            after=job,
            promised=promised,
            placing=placing,
            follow_ups=following.follow_ups,
        )
    return job


def _create(
    form: type[JobForm],
    params: dict[str, Any],
    placing: Mapping[str, Any],
    by: Any,
    after: Job | None,
) -> Job:
    """The rows of a job and its parts."""
    place = validate_placement(form.queue, placing)
    create = partial(
        lifecycle.create, queue=place.queue, priority=place.priority, by=by, after=after
    )
    shards = params.get("shards", 1) if form.part else 1
    if shards == 1:
        return create(form.kind, params, in_parts=False)
    job = create(form.kind, params, in_parts=True)
    for number in range(1, shards + 1):
        create(form.part, {**params, "shard": number}, part_of=job)
    return job


def may_resume(job: Job) -> bool:
    """Whether a new job can go on where this one stood: it came to no good end, and no later one
    took its checkpoint.
    """
    kind = JOB_FORMS.get(job.kind)
    if not (
        kind
        and kind.resumable
        and job.checkpoint
        and job.state in (Job.State.CANCELLED, Job.State.FAILED)
    ):
        return False
    return not Job.objects.filter(checkpoint=job.checkpoint, pk__gt=job.pk).exists()


@transaction.atomic
def resume(job_id: int, *, by: Any = None) -> Job:
    """Start a job that continues from the last checkpoint of a cancelled or failed one.

    Raises `InvalidParams` if there is none, or if the settings are no longer valid.
    """
    old = Job.objects.select_for_update().get(pk=job_id)
    if not may_resume(old):
        why = (
            "it has no checkpoint, or another job continued from it"
            if old.over
            else "it is not over"
        )
        raise InvalidParams({"__all__": [f"Job {job_id} cannot be resumed: {why}."]})
    new = start(old.kind, old.params, by=by, placing=as_placed(old))
    Job.objects.filter(pk=new.pk).update(checkpoint=old.checkpoint)
    who = f", by {by}" if by else ""
    job_events.log(
        new.pk,
        f"Goes on from job {old.pk}, which was {old.state} after {old.done:,} {old.unit}{who}.",
    )
    job_events.log(old.pk, f"Job {new.pk} resumes from here{who}.")
    new.refresh_from_db()
    return new


def _one_at_a_time() -> None:
    """Lock the start of jobs until this transaction ends: of two clicks on one button, the second
    sees the slug of the first.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('featurescope: start a job'))")
