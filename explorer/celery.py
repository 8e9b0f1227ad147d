"""The Celery app of web and workers: JSON messages with the id of a job, two queues, no result
backend.
"""

import os
from typing import Any

from celery import Celery
from kombu import Queue

from explorer.local import broker

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "explorer.settings")

INFERENCE, JOBS = "inference", "jobs"
"""The queues: requests that loaded models answer in milliseconds, and jobs of minutes to days.

A worker of the queue `jobs` also listens to `jobs-gpu` or `jobs-cpu`, by its device.
"""


def configuration() -> dict[str, Any]:
    """Celery's settings, from Django's."""
    from django.conf import settings

    if settings.CELERY_BROKER_URL:
        broker_settings = {"broker_url": settings.CELERY_BROKER_URL}
    else:
        broker_settings = broker.celery_settings(settings.VAR / "broker")
    return broker_settings | {
        "accept_content": ["json"],
        "task_serializer": "json",
        "task_ignore_result": True,
        "task_default_queue": JOBS,
        "task_queues": [Queue(name) for name in (INFERENCE, JOBS, f"{JOBS}-gpu", f"{JOBS}-cpu")],
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "worker_prefetch_multiplier": 1,
        "worker_pool": "solo",
        "worker_hijack_root_logger": False,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "broker_connection_retry_on_startup": True,
        "timezone": "UTC",
    }


app = Celery("featurescope", set_as_current=True)
app.add_defaults(configuration)
