"""Form fields with several values."""

import math
from collections.abc import Iterable
from typing import Any

from django import forms
from django.core.exceptions import ValidationError


class ListField(forms.Field):
    """Values of the field `each`, as a list or separated by commas. One value is returned as it is,
    several as a list without repetitions. `choices` and limits are those of `each`.
    """

    def __init__(self, each: forms.Field, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.each = each
        each.required = self.required
        self.choices = list(getattr(each, "choices", []))
        self.min_value = getattr(each, "min_value", None)
        self.max_value = getattr(each, "max_value", None)

    def clean(self, value: Any) -> Any:
        """The value, the list of values, or None if empty."""
        texts = [text for text in split_values(value) if text not in (None, "")]
        if not texts:
            return self.each.clean(None) or None
        values = []
        for text in texts:
            try:
                cleaned = self.each.clean(text)
            except ValidationError as error:
                prefix = f"{text}: " if len(texts) > 1 else ""
                raise ValidationError(
                    [f"{prefix}{message}" for message in error.messages]
                ) from None
            if cleaned not in values:
                values.append(cleaned)
        return values[0] if len(values) == 1 else values


class NumbersField(forms.Field):
    """Numbers, as a list or separated by commas."""

    def __init__(self, *, whole: bool = False, most: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.whole, self.most = whole, most

    def clean(self, value: Any) -> list[Any]:
        """The numbers in order, without repetitions."""
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


def split_values(value: Any) -> list[Any]:
    """The values of a setting that is a list, a text with commas, or a single value."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",")]
    return list(value) if isinstance(value, Iterable) else [value]


def join_values(value: Any) -> str:
    """A setting as text for a form or URL."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
