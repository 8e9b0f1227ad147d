"""Run one job from claim to its end: heartbeats, progress, cancellation, and one final state
whatever happens.
"""

import contextlib
import logging
import os
import platform
import shutil
import socket
import threading
import time
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
import torch
from celery.worker import state as worker_state
from django.conf import settings
from django.db import Error, close_old_connections, connection
from django.db import OperationalError as DatabaseBusy

from features import artifact_store
from features.jobs import lifecycle
from features.jobs.forms import EVERY
from features.models import Job
from features.records import Checkpoint, LogLine, Metrics, Progress
from features.version import VERSION
from workers import devices
from workers.lifecycle import cleanup, reaper
from workers.pipeline.errors import BadInput, Unavailable

HEARTBEAT_SECONDS = 2.0
PROGRESS_SECONDS = 0.5
log = logging.getLogger(__name__)


class Stopped(Exception):
    """The job was asked to stop, and did: by a person, or because this worker must go."""


class Heart(threading.Thread):
    """Renews the lease from a thread of its own; learns of requests to cancel and of a lost lease.

    It beats for work that lives, not for a process that exists: where the work gave no sign of life
    for too long, the process ends, and the job goes on from its checkpoint elsewhere.
    """

    def __init__(self, job: Job) -> None:
        super().__init__(daemon=True, name=f"heart of job {job.pk}")
        self.job = job
        self.cancelled = self.lost = False
        self.life = time.monotonic()
        self._over = threading.Event()

    def run(self) -> None:
        """Beat until told to stop."""
        while not self._over.wait(HEARTBEAT_SECONDS):
            if time.monotonic() - self.life > settings.HANG_MINUTES * 60:
                self._end_process()
            try:
                self.cancelled = lifecycle.heartbeat(self.job)
            except lifecycle.LostJob:
                self.lost = True
            except Error as error:  # the database restarts; the lease outlives a short one
                log.warning("heartbeat of job %s: %s", self.job.pk, error)
                close_old_connections()
        connection.close()

    def _end_process(self) -> None:
        with contextlib.suppress(Error):
            lifecycle.log(
                self.job,
                f"No sign of life for {settings.HANG_MINUTES} min: its worker ends itself.",
            )
        log.error("job %s gives no sign of life: this worker ends", self.job.pk)
        os._exit(1)  # what hangs cannot be asked to end

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self.join()


class Work:
    """What a kind's function gets: its job, a folder of its own, and a way to pass on what the
    pipeline yields.
    """

    def __init__(self, job: Job, heart: Heart, folder: Path) -> None:
        self.job, self.params, self.folder = job, job.params, folder
        self._heart = heart
        self._told = 0.0

    def should_stop(self) -> bool:
        """Whether a person cancelled, the lease is lost, or this worker was told to go. To ask is a
        sign of life.
        """
        self._heart.life = time.monotonic()
        return self._heart.cancelled or self._heart.lost or _told_to_go()

    def results(self, records: Iterable[Any]) -> Iterator[Any]:
        """Write progress, metrics, log and checkpoints to the job, and pass on everything else.

        Raises `Stopped` where the pipeline ended because it was asked to.
        """
        for record in records:
            self._heart.life = time.monotonic()
            match record:
                case Progress():
                    self._tell(record)
                case Metrics():
                    lifecycle.metrics(self.job, record)
                case LogLine():
                    lifecycle.log(self.job, record.text)
                case Checkpoint():
                    self._keep(record)
                case _:
                    yield record
        self.go_on()

    def go_on(self) -> None:
        """Raise `Stopped` where the job was asked to stop: for work that is no pipeline, before it
        writes.
        """
        if self.should_stop():
            raise Stopped

    def say(self, text: str) -> None:
        """Add a sentence to the job's log."""
        lifecycle.log(self.job, text)

    def _tell(self, record: Progress) -> None:
        if time.monotonic() - self._told > PROGRESS_SECONDS or record.done >= record.total:
            lifecycle.progress(self.job, record)
            self._told = time.monotonic()

    def _keep(self, record: Checkpoint) -> None:
        before = self.job.checkpoint
        lifecycle.remember(
            self.job,
            artifact_store.put(record.path, f"jobs/{self.job.pk}/checkpoints/{record.step}"),
        )
        if before and before != self.job.checkpoint:
            artifact_store.remove(before)
        self.say(f"Checkpoint at {record.step:,} tokens.")


def run(job_id: int) -> None:
    """Claim the job and run it to an end. Never raises for what went wrong with the job itself."""
    job = lifecycle.take(job_id, reaper.name())
    if job is None:
        return
    folder = _own_folder(job)
    reaper.busy.set()
    try:
        with Heart(job) as heart, contextlib.suppress(lifecycle.LostJob):
            _run_to_an_end(Work(job, heart, folder), heart)
    finally:
        reaper.busy.clear()
        shutil.rmtree(folder, ignore_errors=True)


def _own_folder(job: Job) -> Path:
    """A folder for this attempt alone: a worker that lost the job may still be in its own. Those of
    the dead are removed.
    """
    own = cleanup.folder_of(job.pk, os.getpid())
    for old in own.parent.glob(f"{job.pk}-*"):
        pid = int(old.name.rpartition("-")[2])
        if pid == os.getpid() or not psutil.pid_exists(
            pid
        ):  # in a container every worker has the same number
            shutil.rmtree(old, ignore_errors=True)
    return own


def _run_to_an_end(work: Work, heart: Heart) -> None:
    from workers.jobs.registry import RUNNERS

    job = work.job
    try:
        work.folder.mkdir(parents=True)
        Job.objects.filter(pk=job.pk).update(environment=environment())
        RUNNERS[job.kind](work)
        return
    except Stopped:
        if not heart.cancelled:
            lifecycle.release(job, "its worker was told to stop")
            return
        lifecycle.stop(job)
    except lifecycle.LostJob:
        raise
    except Unavailable as error:
        lifecycle.retry(job, error.message, _field_of(job, error.field))
        return
    except (DatabaseBusy, ConnectionError, TimeoutError) as error:
        close_old_connections()
        lifecycle.retry(job, _in_words(error))
        return
    except artifact_store.Missing as error:
        lifecycle.fail(job, str(error))
    except BadInput as error:
        lifecycle.fail(job, error.message, _field_of(job, error.field))
    except Exception as error:
        log.exception("job %s failed", job.pk)
        lifecycle.log(job, traceback.format_exc(limit=-4))
        lifecycle.fail(job, _in_words(error))
    cleanup.clear()


def _told_to_go() -> bool:
    """Whether Celery is shutting this worker down. Its flags hold an exit code: 0 means yes, None
    and False mean no.
    """
    flags = (worker_state.should_stop, worker_state.should_terminate)
    return any(flag is not None and flag is not False for flag in flags)


def environment() -> dict[str, str]:
    """What this worker runs on, as a job's page names it."""
    return {
        "featurescope": VERSION,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": devices.device_name(),
        "host": socket.gethostname(),
    }


def _field_of(job: Job, field: str) -> str:
    """The field of the job's form that a pipeline's error is about: a corpus that cannot be read is
    the job's `corpus`.
    """
    fields = EVERY[job.kind].base_fields
    if field in fields:
        return field
    stands_for = {"source": "corpus", "text_column": "corpus", "artifact": "sae"}.get(field, "")
    return stands_for if stands_for in fields else ""


def _in_words(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == 28:
        return "The disk is full. Free some space, then run the job again."
    if isinstance(error, torch.OutOfMemoryError):
        return "The device ran out of memory. Choose fewer features, or a worker with more memory."
    if isinstance(error, DatabaseBusy | ConnectionError | TimeoutError):
        return (
            "A connection broke: "
            f"{str(error).splitlines()[0] if str(error) else type(error).__name__}."
        )
    return (
        f"{type(error).__name__}: {error}. The log has the place; if the settings are right, "
        "this is a bug of ours."
    )
