"""A form field that takes one value or several: what a sweep is made of."""

import math
from collections.abc import Iterable
from typing import Any

from django import forms
from django.core.exceptions import ValidationError


class Several(forms.Field):
    """Values of the field `each`, separated by commas (or as a list); one value stays as it is,
    several become a list.

    Repeated values count once. Choices and limits are those of `each`, for whoever shows the field.
    """

    def __init__(self, each: forms.Field, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.each = each
        each.required = self.required
        self.choices = list(getattr(each, "choices", []))
        self.min_value = getattr(each, "min_value", None)
        self.max_value = getattr(each, "max_value", None)

    def clean(self, value: Any) -> Any:
        """The value, the list of values, or None where there is none."""
        given = [one for one in split(value) if one not in (None, "")]
        if not given:
            return self.each.clean(None) or None
        found = []
        for one in given:
            try:
                cleaned = self.each.clean(one)
            except ValidationError as error:
                more = f"{one}: " if len(given) > 1 else ""
                raise ValidationError([f"{more}{text}" for text in error.messages]) from None
            if cleaned not in found:
                found.append(cleaned)
        return found[0] if len(found) == 1 else found


class NumbersField(forms.Field):
    """A list of numbers, or one text of them between commas."""

    def __init__(self, *, whole: bool = False, most: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.whole, self.most = whole, most

    def clean(self, value: Any) -> list[Any]:
        """The numbers in order, each once."""
        parts = (
            value if isinstance(value, list | tuple) else str(value or "").replace(",", " ").split()
        )
        try:
            numbers = [int(str(part)) if self.whole else float(part) for part in parts]
        except (TypeError, ValueError):
            raise ValidationError(
                "Write numbers with commas between them, such as 1, 2, 4."
            ) from None
        if len(numbers) > self.most or not all(math.isfinite(number) for number in numbers):
            raise ValidationError(f"Give at most {self.most} numbers, none of them infinite.")
        return sorted(set(numbers))


def split(value: Any) -> list[Any]:
    """The values in a setting: of a text those between commas, of a list its own."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",")]
    return list(value) if isinstance(value, Iterable) else [value]


def joined(value: Any) -> str:
    """A setting as a form or an address takes it."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
