"""manage.py score_labels MODEL/SLUG --endpoint NAME."""

from features.jobs.forms import ScoreLabels
from features.management.job_command import OnSaeCommand


class Command(OnSaeCommand):
    """Score the labels of an SAE on held-out examples."""

    form = ScoreLabels
