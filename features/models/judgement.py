"""Judgements of a sweep's texts by a language model."""

from typing import Any

from django.db import models
from django.db.models.functions import Now

from features.models.job import Job
from features.models.steering import SteeringRun

HIGHEST = 2
"""Both scores are 0, 1 or 2."""

Scores = list[int | None]


class SweepJudgement(models.Model):
    """Scores of a sweep's texts, the default first, then one per strength; null if not judged."""

    run = models.ForeignKey(SteeringRun, models.CASCADE, related_name="judgements")
    job = models.ForeignKey(Job, models.SET_NULL, null=True, related_name="judgements")
    judge = models.CharField(
        max_length=200, help_text="The language model, as its endpoint names it."
    )
    label = models.TextField(help_text="The feature's label at that time, which was searched for.")
    concept: "models.JSONField[Scores, Any]" = models.JSONField(
        help_text="How much of the label is in each text."
    )
    fluency: "models.JSONField[Scores, Any]" = models.JSONField(
        help_text="How well each text reads."
    )
    unread = models.PositiveSmallIntegerField(help_text="Questions without a readable response.")
    unasked = models.PositiveSmallIntegerField(help_text="Questions that exceeded the budget.")
    prompt_tokens = models.PositiveIntegerField()
    completion_tokens = models.PositiveIntegerField()
    cost = models.FloatField(help_text="US dollars, by the prices of the endpoint.")
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"steering {self.run_id} judged by {self.judge}"

    @property
    def both(self) -> list[float | None]:
        """The harmonic mean of the two scores of each text."""
        return [harmonic(*scores) for scores in zip(self.concept, self.fluency, strict=True)]

    @property
    def tokens(self) -> int:
        """Tokens of prompts and responses."""
        return self.prompt_tokens + self.completion_tokens


def harmonic(concept: int | None, fluency: int | None) -> float | None:
    """The harmonic mean: 0 where either is 0, None where either is missing."""
    if concept is None or fluency is None:
        return None
    return 2 * concept * fluency / (concept + fluency) if concept and fluency else 0.0
