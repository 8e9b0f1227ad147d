"""Running one job from its claim to a final state, with heartbeats and cancellation."""

import contextlib
import logging
import os
import platform
import shutil
import socket
import traceback
from pathlib import Path

import psutil
import torch
from django.conf import settings
from django.db import OperationalError as DatabaseBusy
from django.db import close_old_connections

from features import artifact_store
from features.jobs import events as job_events
from features.jobs import execution as job_execution
from features.jobs.forms import ALL_FORMS
from features.models import Job
from features.queue.claims import LostLease
from features.records import InvalidInput
from features.version import VERSION
from workers import devices
from workers.jobs.registry import RUNNERS
from workers.lifecycle import cleanup, reaper
from workers.lifecycle.heartbeat import Heartbeat
from workers.lifecycle.work import RunningJob, Stopped
from workers.pipeline.errors import Unavailable

HEARTBEAT_SECONDS = 2.0
log = logging.getLogger(__name__)


def run(job_id: int) -> None:
    """Claim the job and run it. Errors of the job itself are stored, not raised."""
    row = job_execution.claim_next(job_id, reaper.name())
    if row is None:
        return
    folder = _attempt_folder(row)
    reaper.busy.set()
    try:
        with _heartbeat(row) as heartbeat, contextlib.suppress(LostLease):
            _run_to_final_state(RunningJob(row, heartbeat, folder), heartbeat)
    finally:
        reaper.busy.clear()
        shutil.rmtree(folder, ignore_errors=True)


def _heartbeat(row: Job) -> Heartbeat:
    minutes = settings.HANG_MINUTES
    text = f"No progress for {minutes} min: the worker stops its process."
    return Heartbeat(
        f"job {row.pk}",
        lambda: "cancelled" if job_execution.renew_lease(row) else "",
        HEARTBEAT_SECONDS,
        silence_limit=minutes * 60,
        on_silence=lambda: job_events.log(row.pk, text),
    )


def _attempt_folder(row: Job) -> Path:
    """The folder of this attempt: a worker that lost the job may still use its own. Folders of dead
    processes are removed.
    """
    own = cleanup.folder_of(row.pk, os.getpid())
    for old in own.parent.glob(f"{row.pk}-*"):
        pid = int(old.name.rpartition("-")[2])
        # in containers the worker of an earlier attempt may have had the same process id
        if pid == os.getpid() or not psutil.pid_exists(pid):
            shutil.rmtree(old, ignore_errors=True)
    return own


def _run_to_final_state(job: RunningJob, heartbeat: Heartbeat) -> None:
    row = job.row
    try:
        job.folder.mkdir(parents=True)
        Job.objects.filter(pk=row.pk).update(environment=environment())
        RUNNERS[row.kind](job)
        return
    except Stopped:
        if not heartbeat.stop_reason:
            job_execution.release(row, "its worker was stopped")
            return
        job_execution.end_cancelled(row)
    except LostLease:
        raise
    except Unavailable as error:
        job_execution.retry(row, error.message, _field_of(row, error.field))
        return
    except (DatabaseBusy, ConnectionError, TimeoutError) as error:
        close_old_connections()
        job_execution.retry(row, _message_of(error))
        return
    except artifact_store.Missing as error:
        job_execution.fail(row, str(error))
    except InvalidInput as error:
        job_execution.fail(row, error.message, _field_of(row, error.field))
    except Exception as error:
        log.exception("job %s failed", row.pk)
        job_events.log(row.pk, traceback.format_exc(limit=-4))
        job_execution.fail(row, _message_of(error))
    cleanup.clear()


def environment() -> dict[str, str]:
    """Versions, device and host of this worker, for the page of a job."""
    return {
        "featurescope": VERSION,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": devices.device_name(),
        "host": socket.gethostname(),
    }


def _field_of(row: Job, field: str) -> str:
    """The field of the job's form that an error of the pipeline is about: `source` of a corpus that
    cannot be read is the job's `corpus`.
    """
    fields = ALL_FORMS[row.kind].base_fields
    if field in fields:
        return field
    form_field = {"source": "corpus", "text_column": "corpus", "artifact": "sae"}.get(field, "")
    return form_field if form_field in fields else ""


def _message_of(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == 28:
        return "The disk is full. Free some space, then run the job again."
    if isinstance(error, torch.OutOfMemoryError):
        return "The device ran out of memory. Choose fewer features, or a worker with more memory."
    if isinstance(error, DatabaseBusy | ConnectionError | TimeoutError):
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return f"A connection broke: {reason}."
    return (
        f"{type(error).__name__}: {error}. The log has the traceback; if the settings are right, "
        "please report this as a bug."
    )
