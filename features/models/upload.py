"""Labels that came in a file, to be taken back as a whole."""

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from features.models.catalog import Sae


class LabelUpload(models.Model):
    """A file of labels of one SAE: who brought it, and what it made. `Label.upload` names those
    that it added.
    """

    sae = models.ForeignKey(Sae, models.CASCADE, related_name="+")
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="label_uploads"
    )
    name = models.CharField(max_length=200, help_text="What the file was called.")
    rows = models.PositiveIntegerField(help_text="Labels in the file.")
    added = models.PositiveIntegerField(
        db_default=0, default=0, help_text="Those that were not there yet."
    )
    votes = models.JSONField(
        default=list, help_text="Ids of the votes that it gave to labels that were there."
    )
    at = models.DateTimeField(db_default=Now())
    undone = models.DateTimeField(null=True)
    undone_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+"
    )
    kept = models.PositiveIntegerField(
        null=True, help_text="Labels that stayed when it was undone, as people had touched them."
    )

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.name} for {self.sae}"

    def get_absolute_url(self) -> str:
        """Its page."""
        return f"/labels/uploads/{self.pk}/"
