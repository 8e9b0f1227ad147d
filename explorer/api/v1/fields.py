"""Fields of queries and answers that more than one serializer uses."""

import math
from typing import Any

from rest_framework import serializers

from explorer.definitions import DEFINITIONS

LIMIT, MOST = 50, 200
BIGGEST_INDEX = 2**31 - 1


class FiniteField(serializers.FloatField):
    """A number: no NaN and no infinity, which Python reads from their names."""

    default_error_messages = {"finite": "A finite number is required."}

    def to_internal_value(self, data: Any) -> float:
        """The number. Raises `ValidationError`."""
        value: float = super().to_internal_value(data)
        if not math.isfinite(value):
            self.fail("finite")
        return value


class TextField(serializers.CharField):
    """Text exactly as it is stored: blanks are part of a token."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(trim_whitespace=False, allow_blank=True, **kwargs)


class Query(serializers.Serializer[Any]):
    """A query string; also what a list without filters takes none of."""


class PageQuery(Query):
    """What every list takes."""

    limit = serializers.IntegerField(
        min_value=1, max_value=MOST, default=LIMIT, help_text=f"Rows per page, 1 to {MOST}."
    )
    cursor = serializers.CharField(
        required=False,
        max_length=1000,
        help_text="Where to go on: the one in `next` of the page before.",
    )


def about(name: str) -> str:
    """The definition of a number, as the pages give it."""
    return DEFINITIONS[name].about
