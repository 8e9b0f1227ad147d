"""A thread in every worker that reports this worker as alive, and takes back the jobs of workers
that crashed.

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
    """The name of this worker process in its jobs, HOST:PID."""
    return f"{socket.gethostname()}:{os.getpid()}"


def start(consumer: Any) -> threading.Thread:
    """Start the thread; Celery's `consumer` knows the queues that this worker listens to."""
    queues = [queue.name for queue in consumer.task_consumer.queues]
    if "jobs" in queues:
        queues.append(f"jobs-{'gpu' if devices.device() != 'cpu' else 'cpu'}")
        consumer.add_task_queue(queues[-1])
    thread = threading.Thread(target=_run, args=(queues,), daemon=True, name="reaper")
    thread.start()
    return thread


def stop() -> None:
    """Report that this worker stops. Where the database is not reachable, its missing heartbeat
    shows it.
    """
    try:
        worker_services.gone(name())
    except Error as error:
        log.warning("cannot report that this worker stops: %s", error)


def _run(queues: list[str]) -> None:
    last_upkeep = time.monotonic()
    while True:
        close_old_connections()
        try:
            worker_services.here(name(), queues, devices.worker_state())
            for job_id in job_recovery.reap(() if busy.is_set() else queues):
                log.warning("job %s lost its worker", job_id)
            for run_id in steering_execution.reap(queues):
                log.warning("steering %s lost its worker", run_id)
            cleanup.clear()
            if time.monotonic() - last_upkeep > UPKEEP_SECONDS:
                last_upkeep = time.monotonic()
                garbage.start_when_due()
                embeddings.start_when_due()
                inference_requests.delete_old()
        except Error as error:  # the database restarts: try again
            log.warning("reaper: %s", error)
        except Exception:  # an unexpected error of the store or a device must not end this thread
            log.exception("reaper")
        time.sleep(EVERY_SECONDS)
