"""The Celery application of web and workers: JSON messages that carry a job's id, two queues, no result backend."""

import os
import shutil
from pathlib import Path
from typing import Any

from celery import Celery
from kombu import Queue

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "explorer.settings")

INFERENCE, JOBS = "inference", "jobs"
"""The queues: answers in milliseconds from warm models, and work of minutes to days."""


def broker_in(folder: Path) -> dict[str, Any]:
    """Celery settings for a broker of plain files in `folder` (kombu's filesystem transport), which needs no server."""
    places = {
        "data_folder_in": folder / "messages",
        "data_folder_out": folder / "messages",
        "processed_folder": folder / "processed",  # read from here: kombu's default is the shared temporary folder
        "control_folder": folder / "control",
    }
    for place in places.values():
        place.mkdir(parents=True, exist_ok=True)
    options = {name: str(place) for name, place in places.items()} | {"polling_interval": 0.05}
    return {"broker_url": "filesystem://", "broker_transport_options": options}


def empty_broker(folder: Path) -> None:
    """Begin with no messages: a half-written file of a crash stops nobody, and every queued job is sent again anyway."""
    shutil.rmtree(folder, ignore_errors=True)
    broker_in(folder)


def configuration() -> dict[str, Any]:
    """All settings of Celery, from Django's."""
    from django.conf import settings

    broker = (
        {"broker_url": settings.CELERY_BROKER_URL} if settings.CELERY_BROKER_URL else broker_in(settings.VAR / "broker")
    )
    return broker | {
        "accept_content": ["json"],
        "task_serializer": "json",
        "task_ignore_result": True,
        "task_default_queue": JOBS,
        "task_queues": [Queue(INFERENCE), Queue(JOBS)],
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
