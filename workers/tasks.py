"""The Celery shell: one task, which carries a job's id and nothing else."""

from celery import shared_task
from celery.signals import worker_ready

from features.jobs import TASK


@shared_task(name=TASK, ignore_result=True)
def run_job(job_id: int) -> None:
    """Run the job if it is still to be had."""
    from workers import running  # torch comes with it: only when there is work

    running.run(job_id)


@worker_ready.connect
def start_reaper(**signal: object) -> None:
    """Take back jobs whose worker died, for as long as this worker lives."""
    from workers import reaper

    reaper.start(signal["sender"])
