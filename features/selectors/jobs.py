"""Reads of jobs: the list, one with its curves and log, and the chain it belongs to."""

from typing import Any, NamedTuple

from django.db.models import Count, F, IntegerField, Max, OuterRef, Q, QuerySet, Subquery, Window
from django.db.models.fields.json import KT
from django.db.models.functions import Cast, Mod, RowNumber

from features.jobs.forms import ALL_FORMS
from features.models import Job, JobEvent, Sae

LOG_LINES = 200
POINTS = 120
"""A curve of more points than this looks the same, and is slower to send."""

Curve = list[tuple[int, float]]
Curves = dict[str, dict[str, Curve]]
"""By metric, then by series: the SAEs of a sweep by their slugs, or one without a name."""


class JobView(NamedTuple):
    """Everything a job's page shows.

    `curves` holds about `POINTS` (step, value) points of each metric and series, the last one among
    them; `followers` are all jobs that wait for this one, directly or not, and `before` those it
    waited for; both in order of id.
    """

    job: Job
    curves: Curves
    log: list[JobEvent]
    followers: list[Job]
    before: list[Job]
    parts: list[Job]


def every() -> QuerySet[Job]:
    """All jobs, newest first, the parts of others among them."""
    return Job.objects.select_related("created_by").order_by("-id")


def jobs(kind: str = "", state: str = "") -> QuerySet[Job]:
    """Jobs as lists show them, newest first: parts are on the page of the job that they are parts
    of.
    """
    rows = every().filter(part_of=None)
    if kind:
        rows = rows.filter(kind=kind)
    if state:
        rows = rows.filter(state=state)
    return rows


def job(pk: int) -> JobView:
    """One job, in four queries. Raises `Job.DoesNotExist`."""
    row = Job.objects.select_related("created_by").get(pk=pk)
    events = JobEvent.objects.filter(job=row).exclude(kind=JobEvent.Kind.METRICS)
    log = list(events.order_by("-id")[:LOG_LINES])[::-1]
    family = chain(pk)
    parts = list(row.parts.order_by("id")) if row.in_parts else []
    return JobView(row, curves(pk), log, _after(pk, family), _before(pk, family), parts)


def curves(pk: int) -> Curves:
    """The job's metrics, thinned evenly by the database. Where an attempt resumed, what it measured
    again replaces the old.
    """
    rows = JobEvent.objects.filter(job_id=pk, kind=JobEvent.Kind.METRICS)
    own = [KT("data__series")]
    numbered = rows.annotate(
        place=Window(RowNumber(), partition_by=own, order_by=F("id").asc()),
        every=(Cast(Window(Count("id"), partition_by=own), IntegerField()) + (POINTS - 1)) / POINTS,
        last=Window(Max("id"), partition_by=own),
    )
    kept = numbered.annotate(rest=Mod(F("place") - 1, F("every"))).filter(
        Q(rest=0) | Q(id=F("last"))
    )
    found: Curves = {}
    for data in kept.order_by("id").values_list("data", flat=True):
        for name, value in data["values"].items():
            curve = found.setdefault(name, {}).setdefault(data.get("series", ""), [])
            while curve and curve[-1][0] >= data["step"]:
                curve.pop()
            curve.append((data["step"], value))
    return found


def comparable_jobs(job: Job) -> QuerySet[Job]:
    """Other jobs of its kind that have begun, newest first: those whose curves may be laid over its
    own.
    """
    return (
        Job.objects.filter(kind=job.kind, started__isnull=False).exclude(pk=job.pk).order_by("-id")
    )


def trained_saes(job: Job) -> list[Sae]:
    """The SAEs that a job made, in its order."""
    return list(Sae.objects.filter(made_by=job).select_related("model").order_by("id"))


def chain(pk: int) -> list[Job]:
    """Every job that hangs together with this one by `after`, oldest first: one query, however long
    the chain.
    """
    return list(
        Job.objects.raw(
            """
            WITH RECURSIVE up AS (
                SELECT id, after_id FROM features_job WHERE id = %s
                UNION SELECT job.id, job.after_id FROM features_job job
                    JOIN up ON job.id = up.after_id
            ), down AS (
                SELECT id FROM up WHERE after_id IS NULL
                UNION SELECT job.id FROM features_job job JOIN down ON job.after_id = down.id
            )
            SELECT job.* FROM features_job job JOIN down USING (id) ORDER BY id
            """,
            [pk],
        )
    )


def rival(job: Job) -> Sae | None:
    """Of the SAEs that earlier jobs made on the same hook, the one that explained the most variance
    at the end of training.
    """
    form = ALL_FORMS.get(job.kind)
    if form is None or not form.compares_with_earlier(job.params):
        return None
    same = Sae.objects.filter(
        model__slug=job.params.get("model"), hook=job.params.get("hook"), made_by__lt=job.pk
    )
    measured = same.filter(training_metrics__explained_variance__isnull=False)
    return (
        measured.select_related("made_by")
        .order_by("-training_metrics__explained_variance", "id")
        .first()
    )


def jobs_ahead(job: Job) -> int:
    """How many jobs its queue serves before it; 0 where it is not queued."""
    if job.state != Job.State.QUEUED:
        return 0
    first = Q(priority__gt=job.priority) | Q(priority=job.priority, pk__lt=job.pk)
    earlier = Q(first, state=Job.State.QUEUED) | Q(state=Job.State.RUNNING)
    return Job.objects.filter(earlier, queue=job.queue).count()


def events(pk: int, *, after: int = 0, kind: str = "") -> QuerySet[JobEvent]:
    """What happened to a job after the event of that id, oldest first."""
    rows = JobEvent.objects.filter(job_id=pk, id__gt=after).order_by("id")
    return rows.filter(kind=kind) if kind else rows


def change_token(pk: int) -> dict[str, Any] | None:
    """What changes when a job's page should be drawn again, in one cheap query; None where there is
    no such job.
    """
    last = JobEvent.objects.filter(job=OuterRef("pk")).order_by("-id").values("id")[:1]
    rows = Job.objects.filter(pk=pk).annotate(last_event=Subquery(last))
    found = rows.values("state", "done", "total", "doing", "cancel_requested", "last_event").first()
    return dict(found) if found else None


def _before(pk: int, family: list[Job]) -> list[Job]:
    by_id, found = {job.pk: job for job in family}, []
    job = by_id.get(pk)
    while job and job.after_id in by_id:
        job = by_id[job.after_id]
        found.append(job)
    return found[::-1]


def _after(pk: int, family: list[Job]) -> list[Job]:
    """A job's id is greater than that of the job it waits for, so one pass in order of id finds
    all.
    """
    ids, found = {pk}, []
    for job in family:
        if job.after_id in ids and job.part_of_id is None:
            ids.add(job.pk)
            found.append(job)
    return found
