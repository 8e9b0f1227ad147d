"""Questions that a warm model answers in a moment, and their answers: a cache, and the way from
worker to website.
"""

from typing import Any

from django.db import models
from django.db.models.functions import Now


class Answer(models.Model):
    """One question to the models. Equal questions are one row, so they are computed once; old rows
    go.

    The table is unlogged: it is empty after a crash of the database, which costs only time.
    """

    key = models.CharField(max_length=64, primary_key=True, help_text="SHA-256 of the question.")
    question = models.JSONField()
    asked = models.DateTimeField(db_default=Now())
    answered = models.DateTimeField(null=True)
    result = models.JSONField(null=True)
    error: "models.JSONField[dict[str, Any] | None, Any]" = models.JSONField(
        null=True, help_text="{field, message, passing}"
    )

    class Meta:
        indexes = [models.Index(fields=["asked"], name="answer_by_age")]

    def __str__(self) -> str:
        return self.key[:12]
