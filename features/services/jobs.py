"""Starting jobs: validate, write the row, and queue what follows."""

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from django.db import connection, transaction

from features.jobs import events as job_events
from features.jobs import lifecycle, sweeps
from features.jobs.forms import KINDS
from features.jobs.forms.compute_dashboards import MOST_TOGETHER
from features.jobs.forms.placement import as_placed, placed
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
    labelled: bool = True,
) -> Job:
    """Validate `data` with the kind's form and queue the job, with the jobs that its params ask to
    follow it.

    `placing` holds the fields of `features.jobs.forms.placement.Placing`; the jobs that follow take
    the same place. Dashboards are followed by maps and, where they are to be `labelled`, by labels.
    Raises `InvalidParams` before anything is written.
    """
    if kind not in KINDS:
        raise InvalidParams({"kind": [f"There is no kind “{kind}”. Known: {', '.join(KINDS)}."]})
    _one_at_a_time()
    form = KINDS[kind]
    params = form.checked(data, promised=promised).params()
    place = placed(form.queue, placing or {})
    shards = params.get("shards", 1) if form.part else 1
    create = partial(
        lifecycle.create, queue=place.queue, priority=place.priority, by=by, after=after
    )
    job = create(kind, params, in_parts=shards > 1)
    for number in range(1, shards + 1) if shards > 1 else ():
        create(form.part, {**params, "shard": number}, part_of=job)
    if kind == "compute_dashboards":
        for sae in params["sae"].split():
            start(
                "map_sae",
                {"sae": sae},
                by=by,
                after=job,
                promised={*promised, sae},
                placing=placing,
            )
        for sae in params["sae"].split() if labelled else ():
            label = {"sae": sae, "corpus": params["corpus"]}
            start("label_sae", label, by=by, after=job, promised={*promised, sae}, placing=placing)
    if params.get("then"):
        saes = [f"{params['model']}/{slug}" for slug in sweeps.members(params)]
        follow = partial(start, by=by, promised={*promised, *saes}, placing=placing)
        for first in range(0, len(saes), MOST_TOGETHER):
            together = saes[first : first + MOST_TOGETHER]
            read = {"corpus": params["corpus"]}
            shown = follow(
                "compute_dashboards", {"sae": " ".join(together), **read}, after=job, labelled=False
            )
            for following in ("evaluate_sae", "label_sae"):  # labels take longest
                for sae in together:
                    follow(following, {"sae": sae, **read}, after=shown)
    return job


def may_resume(job: Job) -> bool:
    """Whether a new job can go on where this one stood: it came to no good end, and no later one
    took its checkpoint.
    """
    kind = KINDS.get(job.kind)
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
    """Start a job that goes on from the last checkpoint of one that was cancelled or failed; its
    worker makes it its own.

    Raises `InvalidParams` where there is none, or where the settings cannot be used any more.
    """
    old = Job.objects.select_for_update().get(pk=job_id)
    if not may_resume(old):
        why = "it has no checkpoint, or another job took it up" if old.over else "it is not over"
        raise InvalidParams({"__all__": [f"Job {job_id} cannot be resumed: {why}."]})
    new = start(old.kind, old.params, by=by, placing=as_placed(old))
    Job.objects.filter(pk=new.pk).update(checkpoint=old.checkpoint)
    who = f", by {by}" if by else ""
    job_events.log(
        new.pk,
        f"Goes on from job {old.pk}, which was {old.state} after {old.done:,} {old.unit}{who}.",
    )
    job_events.log(old.pk, f"Job {new.pk} goes on from here{who}.")
    new.refresh_from_db()
    return new


def _one_at_a_time() -> None:
    """Until this transaction ends nobody else starts a job: of two clicks on one button, the second
    sees the first's slug.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('featurescope: start a job'))")
