"""manage.py map_sae MODEL/SLUG."""

from features.jobs.forms import MapSae
from features.management.job_command import OnSaeCommand


class Command(OnSaeCommand):
    """Place the features of an SAE on a map."""

    form = MapSae
