"""Nearest features between two SAEs of a model."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now

from features.db.fields import RealField
from features.models.catalog import Sae
from features.models.job import Job

BINS = 20
"""Bins of the histogram of cosines from 0 to 1; negative ones are in the first bin."""
MATCHED = 0.7
"""Cosine from which the nearest feature counts as a match; an edge of a bin."""


class Matching(models.Model):
    """Summary of the matches of one SAE in another; written last, so matches are complete."""

    sae = models.ForeignKey(Sae, models.CASCADE, related_name="matchings")
    other = models.ForeignKey(Sae, models.CASCADE, related_name="+")
    histogram = ArrayField(
        models.IntegerField(), help_text="Features by cosine with their nearest feature."
    )
    job = models.ForeignKey(Job, models.SET_NULL, null=True, related_name="+")
    made = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["sae__slug", "other__slug"]
        constraints = [models.UniqueConstraint(fields=["sae", "other"], name="matching_once")]

    def __str__(self) -> str:
        return f"{self.sae} in {self.other}"

    def get_absolute_url(self) -> str:
        """The page of the matches."""
        return f"{self.sae.get_absolute_url()}matches/{self.other.slug}/"

    @property
    def matched(self) -> float:
        """Share of features whose nearest feature has a cosine of `MATCHED` or more."""
        return sum(self.histogram[round(MATCHED * BINS) :]) / max(sum(self.histogram), 1)


class Match(models.Model):
    """The nearest feature in `other` of feature `index` of `sae`, by cosine of decoder rows."""

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
