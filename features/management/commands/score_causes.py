"""manage.py score_causes MODEL/SLUG."""

from features.jobs.forms import ScoreCauses
from features.management.job_command import OnSaeCommand


class Command(OnSaeCommand):
    """Measure what every live feature of an SAE does."""

    form = ScoreCauses
