"""The Celery tasks: a job by its id, an inference request by its key, and the next steering run."""

from celery import shared_task
from celery.signals import worker_ready, worker_shutdown

from features.inference import requests as inference_requests
from features.jobs.events import TASK
from features.steering import execution as steering_execution


@shared_task(name=TASK, ignore_result=True)
def run_job(job_id: int) -> None:
    """Run the job if it can still be claimed."""
    from workers.jobs import runner  # SAELens comes with it: only when there is work

    runner.run(job_id)


@shared_task(name=inference_requests.TASK, ignore_result=True)
def answer(key: str) -> None:
    """Compute the result of an inference request."""
    from workers.inference import requests as inference_worker

    inference_worker.compute(key)


@shared_task(name=steering_execution.TASK, ignore_result=True)
def steer() -> None:
    """Run the steering run whose turn it is."""
    from workers.inference import steering as steering_worker

    steering_worker.run_next()


@worker_ready.connect
def begin(**signal: object) -> None:
    """Start the thread that reports this worker and requeues jobs with expired leases."""
    from workers import devices
    from workers.lifecycle import reaper

    devices.limit_threads()
    reaper.start(signal["sender"])


@worker_shutdown.connect
def end(**signal: object) -> None:
    """Remove this worker from the list."""
    from workers.lifecycle import reaper

    reaper.stop()
