"""manage.py collect_garbage."""

from features.jobs.forms import CollectGarbage
from features.management.job_command import JobCommand


class Command(JobCommand):
    """Remove files that nothing refers to any more. An instance does it once a day by itself."""

    form = CollectGarbage
