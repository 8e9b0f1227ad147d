"""A thread in every worker that takes back the jobs of dead workers. Compare-and-set makes any number of them safe."""

import logging
import threading
import time
from typing import Any

from django.db import Error, close_old_connections

from features import jobs

EVERY_SECONDS = 3.0
log = logging.getLogger(__name__)

busy = threading.Event()
"""Set while this process runs a job: only an idle worker may ask for messages to be sent again."""


def start(consumer: Any) -> threading.Thread:
    """Begin; `consumer` is Celery's, which knows the queues that this worker listens to."""
    queues = [queue.name for queue in consumer.task_consumer.queues]
    thread = threading.Thread(target=_reap_for_ever, args=(queues,), daemon=True, name="reaper")
    thread.start()
    return thread


def _reap_for_ever(queues: list[str]) -> None:
    while True:
        time.sleep(EVERY_SECONDS)
        close_old_connections()
        try:
            for job_id in jobs.reap(() if busy.is_set() else queues):
                log.warning("job %s lost its worker", job_id)
        except Error as error:  # the database restarts: try again
            log.warning("reaper: %s", error)
