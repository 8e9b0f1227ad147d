"""A thread in every worker: it tells that this worker lives, and takes back the jobs of those that
died.

Compare-and-set makes any number of reapers safe.
"""

import logging
import os
import socket
import threading
import time
from typing import Any

from django.db import Error, close_old_connections

from features.inference import requests as inference_requests
from features.jobs import recovery as job_recovery
from features.services import embeddings, garbage
from features.services import workers as worker_services
from features.steering import execution as steering_execution
from workers import devices
from workers.lifecycle import cleanup

EVERY_SECONDS = 3.0
UPKEEP_SECONDS = 600.0
log = logging.getLogger(__name__)

busy = threading.Event()
"""Set while this process runs a job: only an idle worker may ask for messages to be sent again."""


def name() -> str:
    """This process, as its jobs name it: HOST:PID."""
    return f"{socket.gethostname()}:{os.getpid()}"


def start(consumer: Any) -> threading.Thread:
    """Begin; `consumer` is Celery's, which knows the queues that this worker listens to."""
    queues = [queue.name for queue in consumer.task_consumer.queues]
    if "jobs" in queues:
        queues.append(f"jobs-{'gpu' if devices.device() != 'cpu' else 'cpu'}")
        consumer.add_task_queue(queues[-1])
    thread = threading.Thread(target=_reap_for_ever, args=(queues,), daemon=True, name="reaper")
    thread.start()
    return thread


def stop() -> None:
    """Say that this worker stops in good order; where the database is gone too, its silence will
    say it.
    """
    try:
        worker_services.gone(name())
    except Error as error:
        log.warning("cannot say that this worker stops: %s", error)


def _reap_for_ever(queues: list[str]) -> None:
    kept = time.monotonic()
    while True:
        close_old_connections()
        try:
            worker_services.here(name(), queues, devices.worker_state())
            for job_id in job_recovery.reap(() if busy.is_set() else queues):
                log.warning("job %s lost its worker", job_id)
            for run_id in steering_execution.reap(queues):
                log.warning("steering %s lost its worker", run_id)
            cleanup.clear()
            if time.monotonic() - kept > UPKEEP_SECONDS:
                kept = time.monotonic()
                garbage.start_when_due()
                embeddings.start_when_due()
                inference_requests.delete_old()
        except Error as error:  # the database restarts: try again
            log.warning("reaper: %s", error)
        except Exception:  # a store or a device that answers strangely must not end this thread
            log.exception("reaper")
        time.sleep(EVERY_SECONDS)
