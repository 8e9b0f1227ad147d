"""Workers: their state and current job, and which queues they serve."""

from datetime import timedelta
from typing import NamedTuple

from django.db.models import Count, Q
from django.utils import timezone

from features.models import Job, Worker
from features.queue.workers import SILENT_AFTER

MUTE_AFTER = timedelta(seconds=90)
"""After so long a process that still exists is ended: nothing that it does in earnest keeps all its
threads from running.
"""


class WorkerView(NamedTuple):
    """A worker, its running job if any, and its state: working, idle, silent or stopped."""

    worker: Worker
    job: Job | None
    state: str

    @property
    def listening(self) -> bool:
        """Whether it would take a job."""
        return self.state in {"working", "idle"}

    @property
    def mute(self) -> bool:
        """Whether it stopped speaking so long ago that it hangs, if it exists."""
        return self.state == "silent" and timezone.now() - self.worker.seen > MUTE_AFTER


class QueueView(NamedTuple):
    """A queue: jobs in it, and the living workers that listen to it."""

    name: str
    queued: int
    running: int
    workers: int

    @property
    def deserted(self) -> bool:
        """Whether jobs wait that no worker will take."""
        return self.queued > 0 and not self.workers


def workers() -> list[WorkerView]:
    """Workers that reported in the last day, living ones first. Two queries."""
    running = {job.worker: job for job in Job.objects.filter(state=Job.State.RUNNING)}
    views = [_view(worker, running.get(worker.name)) for worker in Worker.objects.all()]
    return sorted(views, key=lambda view: (not view.listening, view.worker.name))


def queues(views: list[WorkerView]) -> list[QueueView]:
    """Every queue that a worker listens to or a job waits in, by name; one query."""
    going = Job.objects.exclude(state__in=Job.FINAL).order_by().values("queue")
    counts = going.annotate(
        queued=Count("pk", filter=Q(state=Job.State.QUEUED)),
        running=Count("pk", filter=Q(state=Job.State.RUNNING)),
    )
    jobs = {row["queue"]: (row["queued"], row["running"]) for row in counts}
    heard = {
        name: sum(name in view.worker.queues for view in views if view.listening)
        for name in _names(views, jobs)
    }
    return [
        QueueView(name, *jobs.get(name, (0, 0)), listeners) for name, listeners in heard.items()
    ]


def _names(views: list[WorkerView], jobs: dict[str, tuple[int, int]]) -> list[str]:
    return sorted(
        {*jobs, *(name for view in views if view.listening for name in view.worker.queues)}
    )


def _view(worker: Worker, job: Job | None) -> WorkerView:
    if worker.left:
        return WorkerView(worker, None, "stopped")
    if timezone.now() - worker.seen > SILENT_AFTER:
        return WorkerView(worker, job, "silent")
    return WorkerView(worker, job, "working" if job else "idle")
