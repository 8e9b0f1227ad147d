"""manage.py train_sae MODEL/SLUG --corpus C --hook H …"""

from features.jobs.forms import TrainSae
from features.management.job_command import NewSaeCommand


class Command(NewSaeCommand):
    """Train an SAE on one hook point of a model."""

    form = TrainSae
