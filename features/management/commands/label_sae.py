"""manage.py label_sae MODEL/SLUG."""

from features.jobs.forms import LabelSae
from features.management.job_command import OnSaeCommand


class Command(OnSaeCommand):
    """Label the features of an SAE without any key."""

    form = LabelSae
