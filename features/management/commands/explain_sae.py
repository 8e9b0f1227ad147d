"""manage.py explain_sae MODEL/SLUG --endpoint NAME."""

from features.jobs.forms import ExplainSae
from features.management.job_command import OnSaeCommand


class Command(OnSaeCommand):
    """Have a language model write labels of the features of an SAE."""

    form = ExplainSae
