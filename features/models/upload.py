"""Uploaded files of labels."""

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from features.models.catalog import Sae


class LabelUpload(models.Model):
    """A file of labels of one SAE, which can be undone as a whole. `Label.upload` refers to it."""

    sae = models.ForeignKey(Sae, models.CASCADE, related_name="+")
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="label_uploads"
    )
    name = models.CharField(max_length=200, help_text="Name of the file.")
    rows = models.PositiveIntegerField(help_text="Labels in the file.")
    added = models.PositiveIntegerField(
        db_default=0, default=0, help_text="Labels that did not exist before."
    )
    votes = models.JSONField(
        default=list, help_text="Ids of its votes for labels that existed before."
    )
    at = models.DateTimeField(db_default=Now())
    undone = models.DateTimeField(null=True)
    undone_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+"
    )
    kept = models.PositiveIntegerField(
        null=True,
        help_text="Labels that remained when it was undone, because people had changed them.",
    )

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.name} for {self.sae}"

    def get_absolute_url(self) -> str:
        """Its page."""
        return f"/labels/uploads/{self.pk}/"
