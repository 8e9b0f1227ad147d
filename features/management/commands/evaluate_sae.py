"""manage.py evaluate_sae MODEL/SLUG --corpus C."""

from features.jobs.forms import EvaluateSae
from features.management.job_command import OnSaeCommand


class Command(OnSaeCommand):
    """Measure an SAE on text that it was not trained on."""

    form = EvaluateSae
