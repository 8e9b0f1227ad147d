"""The compute ring: Celery tasks, and the pure pipeline that they run."""
