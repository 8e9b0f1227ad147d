"""Work that waits for a worker: claims, leases, messages to Celery, and notifications."""
