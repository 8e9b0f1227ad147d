"""What a language model said of the texts of a sweep, beside what was measured of them."""

from typing import Any

from django.db import models
from django.db.models.functions import Now

from features.models.job import Job
from features.models.steering import SteeringRun

HIGHEST = 2
"""Both scores are 0, 1 or 2."""

Scores = list[int | None]


class SweepJudgement(models.Model):
    """Scores of the texts that a sweep kept, the default first and then one for each strength; null
    where there is none.
    """

    run = models.ForeignKey(SteeringRun, models.CASCADE, related_name="judgements")
    job = models.ForeignKey(Job, models.SET_NULL, null=True, related_name="judgements")
    judge = models.CharField(
        max_length=200, help_text="The language model, as its endpoint names it."
    )
    label = models.TextField(
        help_text="What was looked for: the feature's label when it was judged."
    )
    concept: "models.JSONField[Scores, Any]" = models.JSONField(
        help_text="How much of the label is in each text."
    )
    fluency: "models.JSONField[Scores, Any]" = models.JSONField(
        help_text="How well each text reads."
    )
    unread = models.PositiveSmallIntegerField(
        help_text="Questions whose answer was none, or could not be read."
    )
    unasked = models.PositiveSmallIntegerField(
        help_text="Questions that the budget left no room for."
    )
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
        """Of each text the harmonic mean of its two scores."""
        return [harmonic(*scores) for scores in zip(self.concept, self.fluency, strict=True)]

    @property
    def tokens(self) -> int:
        """Of prompts and answers."""
        return self.prompt_tokens + self.completion_tokens


def harmonic(concept: int | None, fluency: int | None) -> float | None:
    """The harmonic mean: 0 where either is 0, None where either is missing."""
    if concept is None or fluency is None:
        return None
    return 2 * concept * fluency / (concept + fluency) if concept and fluency else 0.0
