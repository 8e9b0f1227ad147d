"""Numbers as people read them, each with its definition on hover."""

import math
from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from explorer.definitions import DEFINITIONS, Definition
from features.version import VERSION

register = template.Library()
register.simple_tag(lambda: VERSION, name="version")

DASH = "–"


@register.filter
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


@register.filter
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


@register.filter
def count(value: int | None) -> str:
    """A whole number with thousands apart: 1,234,567."""
    return DASH if value is None else f"{int(value):,}"


@register.filter
def short_count(value: float) -> str:
    """A large number in three digits: 950, 12.3k, 4.05M, 7B."""
    for size, sign in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{sign}"
    return f"{value:.3g}"


@register.filter
def signed(value: float) -> str:
    """A number with its sign: +1.04, −0.54."""
    return f"{value:+.2f}".replace("-", "−")


FORMS = {"share": share, "count": count, "number": number}


@register.simple_tag
def define(term: str) -> str:
    """The definition of a term, for a `title`; an unknown term is a mistake of ours and raises
    `KeyError`.
    """
    return DEFINITIONS[term].about


@register.simple_tag
def value_of(term: str, value: Any) -> SafeString:
    """A value in the term's form, with the definition on hover."""
    return format_html(
        '<span title="{}">{}</span>', DEFINITIONS[term].about, written(DEFINITIONS[term], value)
    )


@register.simple_tag
def fact(term: str, value: Any, note: str = "") -> SafeString:
    """A term of a `<dl class="facts">`: its name and value, with the definition on hover."""
    known = DEFINITIONS[term]
    small = format_html(" <small>{}</small>", note) if note else ""
    return format_html(
        '<div title="{}"><dt>{}</dt><dd>{}{}</dd></div>',
        known.about,
        known.name,
        written(known, value),
        small,
    )


@register.simple_tag
def head(term: str, url: str = "", sort: str = "") -> SafeString:
    """A numeric table heading with the definition on hover, and the link that sorts by it."""
    known = DEFINITIONS[term]
    name = format_html('<a href="{}">{}</a>', url, known.name) if url else known.name
    aria = format_html(' aria-sort="{}"', sort) if sort else ""
    return format_html('<th class="n" scope="col" title="{}"{}>{}</th>', known.about, aria, name)


def written(known: Definition, value: Any) -> str:
    """A value as its definition's form says."""
    if value is None or isinstance(value, str):
        return value or DASH
    return FORMS[known.form](value)
