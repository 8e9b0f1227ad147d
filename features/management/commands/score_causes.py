"""manage.py score_causes MODEL/SLUG."""

from features.kinds import ScoreCauses
from features.management.job_command import OnSaeCommand


class Command(OnSaeCommand):
    """Measure what every live feature of an SAE does."""

    form = ScoreCauses
