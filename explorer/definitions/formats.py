"""Numbers as text: significant digits, percentages, counts."""

import math
from typing import Any

from explorer.definitions.definition import Definition

DASH = "–"


def number(value: float | None, digits: int = 3) -> str:
    """A number with `digits` significant digits: 2.46, 0.0123, 1,230, 1.2e-05; a dash where there
    is none.
    """
    if value is None or not isinstance(value, int | float) or math.isnan(value):
        return DASH
    if value == 0 or math.isinf(value):
        return f"{value:g}"
    if 1e-4 <= abs(value) < 0.99 * 10 ** (digits - 1):
        return f"{value:#.{digits}g}"  # mostly; a page has a thousand numbers
    exponent = math.floor(math.log10(abs(value)))
    if exponent < -4 or exponent > 8:
        return f"{value:.{digits - 1}e}"
    rounded = round(value, digits - 1 - exponent)
    return f"{rounded:,.{max(digits - 1 - math.floor(math.log10(abs(rounded))), 0)}f}"


def share(value: float | None) -> str:
    """A share as a percentage with sensible digits: 61%, 6.1%, 0.061%, 0.00012%. A score may leave
    0 to 1: −12%, 130%.
    """
    if value is None or math.isnan(value):
        return DASH
    if value < 0:
        return f"−{share(-value)}"
    percent = value * 100
    if percent == 0 or percent >= 9.95:
        return (
            f"{percent:.1f}".removesuffix(".0") + "%" if percent < 99.95 or value >= 1 else ">99.9%"
        )
    return f"{percent:.{1 - math.floor(math.log10(percent))}f}%"


def count(value: int | None) -> str:
    """A whole number with thousands apart: 1,234,567."""
    return DASH if value is None else f"{int(value):,}"


def short_count(value: float) -> str:
    """A large number in three digits: 950, 12.3k, 4.05M, 7B."""
    for size, sign in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{sign}"
    return f"{value:.3g}"


def signed(value: float) -> str:
    """A number with its sign: +1.04, −0.54."""
    return f"{value:+.2f}".replace("-", "−")


FORMS = {"share": share, "count": count, "number": number}


def format_value(known: Definition, value: Any) -> str:
    """A value as its definition's form says."""
    if value is None or isinstance(value, str):
        return value or DASH
    return FORMS[known.form](value)
