"""manage.py match_saes MODEL/SLUG OTHER."""

from features.jobs.forms import MatchSaes
from features.management.job_command import OnSaeCommand


class Command(OnSaeCommand):
    """Find the nearest features between two SAEs of a model."""

    form = MatchSaes
    positional = ("target", "other")

    def fields_from_arguments(self) -> set[str]:
        """The target is one SAE, the second argument the other."""
        return {"sae", "other"}
