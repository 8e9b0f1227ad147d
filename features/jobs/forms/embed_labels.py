"""The job that reads what labels mean."""

from typing import Any

from django import forms

from features.jobs.forms.base import JobForm
from features.models import Job


class EmbedLabels(JobForm):
    """Embed every label whose present words have no embedding yet, for searches by meaning."""

    kind = "embed_labels"
    title = "Embed labels"
    about = (
        "Embeds new and edited labels, for searches by meaning. Runs automatically after "
        "labels are written."
    )

    def clean(self) -> dict[str, Any]:
        """One that waits is enough; one that runs may have passed what was written just now."""
        if Job.objects.filter(
            kind=self.kind, state__in=[Job.State.WAITING, Job.State.QUEUED]
        ).exists():
            raise forms.ValidationError("A job that embeds labels is waiting already.")
        return super().clean() or {}
