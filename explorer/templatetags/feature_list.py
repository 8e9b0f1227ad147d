"""The list of features: headings to order by, cells, and the density plot in which a range is
chosen.
"""

from typing import Any

from django import template
from django.forms import Form
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from explorer.definitions import DEFINITIONS
from explorer.definitions.formats import count, format_value
from explorer.plots import svg
from explorer.templatetags.plots import LOWEST_EXPONENT, times
from features.models import Feature
from features.selectors.feature_columns import COLUMNS

register = template.Library()
ARROWS = {"ascending": " ↑", "descending": " ↓", "": ""}


@register.simple_tag
def cell(column: str, row: Feature) -> str:
    """A feature's value in its definition's format; the density of a dead feature is “dead”."""
    if column == "density" and not row.alive:
        return "dead"
    return (
        count(row.cluster)
        if column == "cluster"
        else format_value(DEFINITIONS[column], getattr(row, column))
    )


@register.simple_tag(takes_context=True)
def sorted_head(context: dict[str, Any], column: str, order: str | None) -> SafeString:
    """A heading; if lists can be ordered by it, a link that does so, or reverses the order."""
    definition = DEFINITIONS.get(column)
    name, about = (
        (definition.name, definition.about)
        if definition
        else ("Feature", "The feature's index in the SAE.")
    )
    if definition and not COLUMNS[column].order:
        return format_html('<th class="cell-number" scope="col" title="{}">{}</th>', about, name)
    down, up = f"-{column}", column
    sort = {down: "descending", up: "ascending"}.get(order or "index", "")
    next_order = "" if column == "index" else up if sort == "descending" else down
    link = query_url(context["request"], order=next_order)
    return format_html(
        '<th class="cell-number" scope="col" title="{}"{}><a href="{}" hx-get="{}"'
        ' hx-target="#features" hx-swap="outerHTML" hx-push-url="true">{}{}</a></th>',
        about, format_html(' aria-sort="{}"', sort) if sort else "", link, link, name, ARROWS[sort],
    )  # fmt: skip


@register.simple_tag(takes_context=True)
def density_brush(context: dict[str, Any], counts: list[int], form: Form) -> SafeString:
    """Live features by density. A bar links to its range; the script lets users draw a range."""
    step = -LOWEST_EXPONENT / max(len(counts), 1)
    ends = [f"{10 ** (LOWEST_EXPONENT + i * step):.2g}" for i in range(len(counts) + 1)]
    bars = [
        svg.Linked(f"{ends[i]} to {ends[i + 1]}: {times(n, 'live feature')}", query_url(
            context["request"], density_min=ends[i] if i else "", density_max=ends[i + 1]
        ))
        for i, n in enumerate(counts)
    ]  # fmt: skip
    decades = [*range(LOWEST_EXPONENT, 0, 2), 0]
    ticks = [
        svg.Tick((d - LOWEST_EXPONENT) / -LOWEST_EXPONENT, "1" if d == 0 else f"1e{d}")
        for d in decades
    ]
    return svg.linked_bars(list(counts), bars, ticks, "Density: choose a range")


def query_url(request: HttpRequest, **changes: str) -> str:
    """The query string with changed parameters, without empty ones and the cursor."""
    query = request.GET.copy()
    for name, value in {**changes, "cursor": ""}.items():
        query.pop(name, None)
        if value:
            query[name] = value
    return f"?{query.urlencode()}"
