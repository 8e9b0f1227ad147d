"""Nearest features between two SAEs of a model."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now

from features.db.fields import RealField
from features.models.catalog import Sae
from features.models.job import Job

BINS = 20
"""Of a histogram of cosines from 0 to 1; what is below 0 is in the first."""
MATCHED = 0.7
"""A feature has a match where the nearest direction of the other SAE has this cosine or a higher
one. An edge of the bins.
"""


class Matching(models.Model):
    """How the features of one SAE find their nearest in another: written last, so its presence says
    that all are there.
    """

    sae = models.ForeignKey(Sae, models.CASCADE, related_name="matchings")
    other = models.ForeignKey(Sae, models.CASCADE, related_name="+")
    histogram = ArrayField(
        models.IntegerField(), help_text="Features by the cosine with their nearest."
    )
    job = models.ForeignKey(Job, models.SET_NULL, null=True, related_name="+")
    made = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["sae__slug", "other__slug"]
        constraints = [models.UniqueConstraint(fields=["sae", "other"], name="matching_once")]

    def __str__(self) -> str:
        return f"{self.sae} in {self.other}"

    def get_absolute_url(self) -> str:
        """The page of its features."""
        return f"{self.sae.get_absolute_url()}matches/{self.other.slug}/"

    @property
    def matched(self) -> float:
        """Share of the features whose nearest has a cosine of `MATCHED` or more."""
        return sum(self.histogram[round(MATCHED * BINS) :]) / max(sum(self.histogram), 1)


class Match(models.Model):
    """The feature `other_index` of `other` is nearest to the feature `index` of `sae`, by cosine of
    decoder directions.
    """

    pk = models.CompositePrimaryKey("sae", "other", "index")
    sae = models.ForeignKey(
        Sae, models.CASCADE, related_name="+", db_index=False
    )  # the key begins with it
    other = models.ForeignKey(Sae, models.CASCADE, related_name="+")
    index = models.PositiveIntegerField()
    other_index = models.PositiveIntegerField()
    cosine = RealField()

    class Meta:
        indexes = [
            models.Index(fields=["sae", "index"], name="match_by_feature"),
            models.Index(fields=["sae", "other", "cosine", "index"], name="match_by_cosine"),
        ]

    def __str__(self) -> str:
        return f"{self.sae}/{self.index} in {self.other}: {self.other_index}"
