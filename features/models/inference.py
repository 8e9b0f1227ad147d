"""Requests to the warm models of the inference workers, with their results: a cache, and the way
from worker to website.
"""

from typing import Any

from django.db import models
from django.db.models.functions import Now


class InferenceRequest(models.Model):
    """One request to the models. Equal requests are one row, so they are computed once; old rows
    are deleted.

    The table is unlogged: it is empty after a crash of the database, which costs only time.
    """

    key = models.CharField(max_length=64, primary_key=True, help_text="SHA-256 of the params.")
    params = models.JSONField(help_text="The kind of request, and what that kind needs.")
    requested = models.DateTimeField(db_default=Now())
    sent = models.DateTimeField(null=True, help_text="When its message last went to the broker.")
    completed = models.DateTimeField(null=True)
    result = models.JSONField(null=True)
    error: "models.JSONField[dict[str, Any] | None, Any]" = models.JSONField(
        null=True, help_text="{field, message, passing}"
    )

    class Meta:
        indexes = [models.Index(fields=["requested"], name="inference_request_by_age")]

    def __str__(self) -> str:
        return self.key[:12]
