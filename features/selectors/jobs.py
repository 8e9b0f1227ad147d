"""Reads of jobs: the list, and one with its curve and log."""

from typing import NamedTuple

from django.db.models import QuerySet

from features.models import Job, JobEvent

LOG_LINES = 200


class JobView(NamedTuple):
    """Everything a job's page shows. `curves` maps a metric's name to its (step, value) points."""

    job: Job
    curves: dict[str, list[tuple[int, float]]]
    log: list[JobEvent]
    followers: list[Job]


def jobs(kind: str = "", state: str = "") -> QuerySet[Job]:
    """Jobs, newest first."""
    rows = Job.objects.select_related("created_by").order_by("-id")
    if kind:
        rows = rows.filter(kind=kind)
    if state:
        rows = rows.filter(state=state)
    return rows


def job(pk: int) -> JobView:
    """One job, in three queries. Raises `Job.DoesNotExist`."""
    row = Job.objects.select_related("created_by", "after").get(pk=pk)
    curves: dict[str, list[tuple[int, float]]] = {}
    for data in JobEvent.objects.filter(job=row, kind=JobEvent.Kind.METRICS).order_by("id").values_list("data", flat=True):
        for name, value in data["values"].items():
            curves.setdefault(name, []).append((data["step"], value))
    said = JobEvent.objects.filter(job=row).exclude(kind__in=[JobEvent.Kind.METRICS, JobEvent.Kind.PROGRESS])
    log = list(said.order_by("-id")[:LOG_LINES])[::-1]
    return JobView(row, curves, log, list(row.followers.order_by("id")))
