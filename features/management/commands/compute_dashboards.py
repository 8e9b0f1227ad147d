"""manage.py compute_dashboards MODEL/SLUG [MODEL/SLUG …] --corpus C --tokens N --shards S."""

from features.jobs.forms import ComputeDashboards
from features.management.job_command import OnSaeCommand


class Command(OnSaeCommand):
    """Run one SAE or several over a corpus and keep what each feature fires on."""

    form = ComputeDashboards
