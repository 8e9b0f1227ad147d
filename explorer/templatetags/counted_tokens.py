"""Which tokens a number is over, in words."""

from collections.abc import Mapping
from typing import Any

from django import template

from explorer.definitions.formats import number

register = template.Library()


@register.filter
def left_out_in_words(stored: Mapping[str, Any] | None) -> str:
    """Such as “Left out: special tokens (3,150); tokens with a norm above 10 × the median of 170
    (3,162).” `stored` is `counted_tokens` of an SAE, of its dashboards or of its evaluation.
    """
    rule = stored or {}
    counts = rule.get("left_out") or {}
    parts = [("special tokens", counts.get("special"))]
    if rule.get("norm_ratio") and rule.get("median_norm"):
        limit = f"{rule['norm_ratio']:g} × the median of {number(rule['median_norm'])}"
        parts.append((f"tokens with a norm above {limit}", counts.get("outliers")))
    if first := rule.get("first_positions"):
        tokens = "the first token" if first == 1 else f"the first {first} tokens"
        parts.append((f"{tokens} of each context", counts.get("first")))
    listed = [text if count is None else f"{text} ({count:,})" for text, count in parts]
    return f"Left out: {'; '.join(listed)}."
