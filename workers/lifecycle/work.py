"""The running job, as the function of its kind uses it: params, progress, log and checkpoints."""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from celery.worker import state as worker_state

from features import artifact_store
from features.jobs import events as job_events
from features.jobs import execution as job_execution
from features.models import Job
from features.records import Checkpoint, LogLine, Metrics, Progress
from workers.lifecycle.heartbeat import Heartbeat

PROGRESS_SECONDS = 0.5


class Stopped(Exception):
    """The job stopped because a user cancelled it or this worker shuts down."""


class RunningJob:
    """A job that this worker runs: its row, its params, and a folder for this attempt."""

    def __init__(self, row: Job, heartbeat: Heartbeat, folder: Path) -> None:
        self.row, self.params, self.folder = row, row.params, folder
        self._heartbeat = heartbeat
        self._progress_written = 0.0

    def should_stop(self) -> bool:
        """Whether a user cancelled, the lease is lost, or this worker shuts down. Each call counts
        as a sign of life.
        """
        self._heartbeat.sign_of_life()
        return self._heartbeat.should_stop or _worker_shuts_down()

    def results(self, records: Iterable[Any]) -> Iterator[Any]:
        """Write progress, metrics, log lines and checkpoints to the job, and yield all other
        records.

        Raises `Stopped` where the pipeline ended because it was asked to.
        """
        for record in records:
            self._heartbeat.sign_of_life()
            match record:
                case Progress():
                    self._write_progress(record)
                case Metrics():
                    job_events.metrics(self.row.pk, record)
                case LogLine():
                    self.log(record.text)
                case Checkpoint():
                    self._store_checkpoint(record)
                case _:
                    yield record
        self.raise_if_stopped()

    def raise_if_stopped(self) -> None:
        """Raise `Stopped` where the job should stop; called before results are written."""
        if self.should_stop():
            raise Stopped

    def log(self, text: str) -> None:
        """Add a line to the job's log."""
        job_events.log(self.row.pk, text)

    def _write_progress(self, record: Progress) -> None:
        now = time.monotonic()
        if now - self._progress_written > PROGRESS_SECONDS or record.done >= record.total:
            job_execution.write_progress(self.row, record)
            self._progress_written = now

    def _store_checkpoint(self, record: Checkpoint) -> None:
        before = self.row.checkpoint
        name = f"jobs/{self.row.pk}/checkpoints/{record.step}"
        job_execution.store_checkpoint(self.row, artifact_store.put(record.path, name))
        if before and before != self.row.checkpoint:
            artifact_store.remove(before)
        self.log(f"Checkpoint at {record.step:,} tokens.")


def _worker_shuts_down() -> bool:
    """Whether Celery shuts this worker down. Its flags hold an exit code: 0 means yes, None and
    False mean no.
    """
    flags = (worker_state.should_stop, worker_state.should_terminate)
    return any(flag is not None and flag is not False for flag in flags)
