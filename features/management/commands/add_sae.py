"""manage.py add_sae MODEL/SLUG SOURCE [--hook H] …"""

from features.jobs.forms import AddSae
from features.management.job_command import NewSaeCommand


class Command(NewSaeCommand):
    """Import an SAE from a folder, a hub repository (owner/name), or SAELens's registry
    (release:id).
    """

    form = AddSae
    positional = ("target", "source")
