"""Causal effects of features on their model."""

from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now

from features.models.feature import Feature
from features.models.job import Job


class FeatureEffect(models.Model):
    """The input and output role of a feature, each a `RoleRecord` of features.records.

    `Feature.causal_effect` copies the effect size of the output role, for ordered lists.
    """

    feature = models.OneToOneField(Feature, models.CASCADE, related_name="effect")
    job = models.ForeignKey(Job, models.SET_NULL, null=True, related_name="+")
    reads: "models.JSONField[dict[str, Any], dict[str, Any]]" = models.JSONField(
        help_text="Ablated where it fires; a RoleRecord."
    )
    writes: "models.JSONField[dict[str, Any], dict[str, Any]]" = models.JSONField(
        help_text="Added where it does not; a RoleRecord."
    )
    promoted = ArrayField(
        models.IntegerField(), help_text="Tokens whose logits rise most where it is added."
    )
    sae_sha256 = models.CharField(max_length=64)
    made = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"effect of {self.feature}"
