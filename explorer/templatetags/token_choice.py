"""A text that was searched: its tokens as boxes to choose, each naming the features that are
strongest on it.
"""

from collections.abc import Collection, Iterable

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from explorer.definitions.formats import number
from explorer.templatetags.heatmap import heatmap
from features.selectors.text_search import TokenFeatures
from features.token_spans import visible

register = template.Library()
register.filter("visible_token", visible)
HINTED = 3


@register.filter
def token_positions(box: TokenFeatures) -> str:
    """The positions of a box's tokens, as the query string names them."""
    return ",".join(str(box.span.position + i) for i in range(len(box.span.token_ids)))


@register.simple_tag
def token_boxes(
    found: Iterable[TokenFeatures], chosen: Collection[int] | None = None
) -> SafeString:
    """Boxes lit by the feature that is shown; with `chosen` positions each is a checkbox, except
    special tokens.
    """
    return mark_safe("".join(_box(box, chosen) for box in found))


def _box(box: TokenFeatures, chosen: Collection[int] | None) -> SafeString:
    span, drawn = box.span, heatmap([box.span])
    hint = " · ".join(
        f"{row.sae.slug}/{row.index} {number(row.value)}" for row in box.strongest[:HINTED]
    )
    if chosen is None or span.special:
        return format_html('<span title="{}">{}</span>', hint, drawn) if hint else drawn
    return format_html(
        '<label title="{}"><input type="checkbox" name="tokens" id="t{}" value="{}" '
        'aria-label="Token {}, {}"{}>{}</label>',
        hint or "No feature within the density fires here.",
        span.position,
        token_positions(box),
        span.position,
        visible(span.text),
        mark_safe(" checked") if span.position in chosen else "",
        drawn,
    )
