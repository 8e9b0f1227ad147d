"""Jobs that keep an instance in order."""

from typing import Any

from django import forms

from features.jobs.forms.base import JobForm


class CollectGarbage(JobForm):
    """Remove files that nothing refers to: weights of deleted SAEs, checkpoints of jobs that are
    over, broken uploads.
    """

    kind = "collect_garbage"
    title = "Remove unused files"
    about = (
        "Deletes weights of deleted SAEs, checkpoints of jobs that are over, and broken "
        "uploads. Runs once a day automatically."
    )

    def clean(self) -> dict[str, Any]:
        """One at a time is enough."""
        if self.being_made():
            raise forms.ValidationError("A job is removing unused files already.")
        return super().clean() or {}
