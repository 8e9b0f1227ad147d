"""A column type that Django lacks."""

from typing import Any

from django.db import models


class RealField(models.FloatField[float, float]):
    """A float of four bytes: half the room of Django's own, and as much as an activation or a logit
    holds.
    """

    def db_type(self, connection: Any) -> str:
        """PostgreSQL's `real`."""
        return "real"
