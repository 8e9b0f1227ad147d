"""How logit effects were made for a model, in words."""

from collections.abc import Mapping
from typing import Any

from django import template

from explorer.definitions.formats import count, number

register = template.Library()


@register.filter
def in_words(readout: Mapping[str, Any]) -> str:
    """What the pipeline recorded of its way from the SAE to the vocabulary, in two or three
    sentences.
    """
    start = (
        f"The decoder direction goes through {readout['through']}, then"
        if readout["through"]
        else "The decoder direction"
    )
    steps = ["has its mean over the residual stream taken out"] if readout["centred"] else []
    if readout["norm"]:
        gain = f"{number(readout['gain_low'])} to {number(readout['gain_high'])}"
        steps.append(f"is multiplied by the gain of the final {readout['norm']} ({gain})")
    steps.append("meets each row of the unembedding")
    subtracts = ", as that norm subtracts it" if readout["centred"] else ""
    return f"{start} {_join_words(steps)}{subtracts}. {_masked(readout)}"


def _masked(readout: Mapping[str, Any]) -> str:
    reasons = {"special": "special", "unused": "unused", "fallback": "byte fallbacks"}
    masked = sum(readout[name] for name in reasons)
    if not masked:
        return f"All {count(readout['rows'])} rows of the vocabulary are ranked."
    why = _join_words(
        [f"{count(readout[name])} {word}" for name, word in reasons.items() if readout[name]]
    )
    return (
        f"Of {count(readout['rows'])} rows of the vocabulary {count(masked)} are left out: {why}."
    )


def _join_words(parts: list[str]) -> str:
    """Parts with commas, and “and” before the last."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
