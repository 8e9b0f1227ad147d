"""Whether a worker serves a queue."""

from datetime import timedelta

from django.utils import timezone

from features.models import Worker

SILENT_AFTER = timedelta(seconds=20)
"""Workers report every few seconds; one that is silent for this long counts as dead."""


def has_worker(queue: str) -> bool:
    """Whether a living worker takes messages of the queue."""
    living = Worker.objects.filter(left=None, seen__gte=timezone.now() - SILENT_AFTER)
    return living.filter(queues__contains=[queue]).exists()
