"""manage.py compute_dashboards MODEL/SLUG --corpus C --tokens N."""

from features.kinds import ComputeDashboards
from features.management.job_command import OnSaeCommand


class Command(OnSaeCommand):
    """Run an SAE over a corpus and keep what each feature fires on."""

    form = ComputeDashboards
