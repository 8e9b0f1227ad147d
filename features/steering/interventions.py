"""Interventions as users write them, parsed into `features.records.Intervention`."""

import math
from collections.abc import Mapping
from typing import Any

from django import forms

from features.records import MAX_INTERVENTIONS, MAX_STRENGTH, Intervention

METHODS = {
    "add": "add",
    "clamp": "clamp to",
    "scale": "scale by",
    "ablate": "ablate",
    "project": "project out",
}
METHODS_WITH_STRENGTH = ("add", "clamp", "scale")
UNITS = {"maximum": "× maximum", "norm": "× norm"}
"""The maximum of the feature, or the norm of the activation that it is added to."""
SETTINGS = {"sae", "index", "method", "strength", "unit"}


class InterventionsField(forms.Field):
    """A list of {sae, index, method, strength, unit}; the last three have defaults."""

    default_error_messages = {
        "required": f"Choose 1 to {MAX_INTERVENTIONS} features to steer with."
    }

    def clean(self, value: Any) -> list[Intervention]:
        """The interventions in order. An error names the entry that is wrong."""
        entries = value or []
        if not isinstance(entries, list) or not all(isinstance(e, Mapping) for e in entries):
            raise forms.ValidationError(
                "Give a list of objects with sae, index, method, strength and unit."
            )
        if not 0 < len(entries) <= MAX_INTERVENTIONS:
            raise forms.ValidationError(
                f"Steer with 1 to {MAX_INTERVENTIONS} features; these are {len(entries)}."
            )
        interventions = [parse_intervention(entry) for entry in entries]
        names = [intervention.name for intervention in interventions]
        for name in names:
            if names.count(name) > 1:
                raise forms.ValidationError(f"{name} is listed twice. List each feature once.")
        return interventions


def parse_intervention(entry: Mapping[str, Any]) -> Intervention:
    """The intervention that a mapping describes; a `ValidationError` names the feature and the
    setting that is wrong.
    """
    name = f"{entry.get('sae', '?')}/{entry.get('index', '?')}"
    if unknown := set(entry) - SETTINGS:
        raise forms.ValidationError(
            f"{name}: there is no setting {', '.join(sorted(map(str, unknown)))}."
        )
    method: Any = entry.get("method") or "add"
    unit: Any = entry.get("unit") or "maximum"
    if method not in METHODS:
        raise forms.ValidationError(
            f"{name}: there is no method “{method}”. Known: {', '.join(METHODS)}."
        )
    if unit not in UNITS or (unit == "norm" and method != "add"):
        raise forms.ValidationError(
            f"{name}: what is added is measured in “maximum” or “norm”, all else in “maximum”."
        )
    index = _parse_index(entry.get("index"))
    if index is None or not isinstance(entry.get("sae"), str) or "\0" in entry["sae"]:
        raise forms.ValidationError(f"{name}: name a feature by the slug of its SAE and its index.")
    strength = _parse_strength(entry, name) if method in METHODS_WITH_STRENGTH else 0.0
    return Intervention(entry["sae"], index, method, strength, unit)


def _parse_strength(entry: Mapping[str, Any], name: str) -> float:
    given = entry.get("strength")
    try:
        value = 1.0 if given in (None, "") else float(str(given))
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or abs(value) > MAX_STRENGTH:
        raise forms.ValidationError(
            f"{name}: a strength is a number from -{MAX_STRENGTH:g} to {MAX_STRENGTH:g}, not "
            f"{given}."
        )
    return value


def _parse_index(given: Any) -> int | None:
    text = str(given)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
