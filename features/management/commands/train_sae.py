"""manage.py train_sae MODEL/SLUG --corpus C --hook H …"""

from typing import Any

from django.core.management.base import CommandError

from features.kinds import TrainSae
from features.management.job_command import JobCommand


class Command(JobCommand):
    """Train an SAE on one hook point of a model."""

    form = TrainSae
    positional = ("target",)

    def taken(self) -> set[str]:
        """The target is model and slug."""
        return {"model", "slug"}

    def data(self, options: dict[str, Any]) -> dict[str, Any]:
        """The form's data, the target cut into model and slug."""
        model, slash, slug = options["target"].partition("/")
        if not slash:
            raise CommandError(f"Write MODEL/SLUG, such as {model}/2-res-topk.")
        return {**super().data(options), "model": model, "slug": slug}
