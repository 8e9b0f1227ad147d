"""Ranges of numbers in query strings, open at the ends that are left empty."""

from typing import Any

from django import forms


class ShareField(forms.Field):
    """A share from 0 to 1, written as 0.01 or as 1%."""

    def to_python(self, value: Any) -> float | None:
        """The share; None if the field is empty."""
        text = str(value or "").strip().replace(",", ".")
        if not text:
            return None
        try:
            number = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            number = -1.0
        if not 0 <= number <= 1:
            raise forms.ValidationError("Write a share from 0 to 1, such as 0.01 or 1%.")
        return number


def number_field(label: str, low: float | None = None) -> forms.FloatField:
    """A field for a finite number, of at least `low`."""
    text_input = forms.TextInput({"inputmode": "decimal", "placeholder": "any"})
    return forms.FloatField(required=False, min_value=low, label=label, widget=text_input)


class RangesForm(forms.Form):
    """A range of densities, and one for each other pair of fields NAME_min and NAME_max."""

    density_min = ShareField(
        required=False, label="Density from", widget=forms.TextInput({"placeholder": "0%"})
    )
    density_max = ShareField(
        required=False, label="Density to", widget=forms.TextInput({"placeholder": "100%"})
    )

    def clean(self) -> dict[str, Any]:
        """Refuse ranges that end before they begin."""
        cleaned = super().clean() or {}
        for name in [name.removesuffix("_min") for name in self.fields if name.endswith("_min")]:
            low, high = cleaned.get(f"{name}_min"), cleaned.get(f"{name}_max")
            if low is not None and high is not None and low > high:
                self.add_error(f"{name}_max", "The range ends before it begins.")
        return cleaned
