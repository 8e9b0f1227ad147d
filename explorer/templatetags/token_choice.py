"""The tokens of a searched text as checkboxes, each naming its strongest features on hover."""

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
def token_positions(token: TokenFeatures) -> str:
    """The positions of the tokens of a span, for the query string."""
    return ",".join(str(token.span.position + i) for i in range(len(token.span.token_ids)))


@register.simple_tag
def token_boxes(
    tokens: Iterable[TokenFeatures], chosen: Collection[int] | None = None
) -> SafeString:
    """Tokens coloured by the shown feature; with `chosen` positions each is a checkbox, except
    tokens that do not count.
    """
    return mark_safe("".join(_token(token, chosen) for token in tokens))


def _token(token: TokenFeatures, chosen: Collection[int] | None) -> SafeString:
    span, drawn = token.span, heatmap([token.span])
    hint = " · ".join(
        f"{row.sae.slug}/{row.index} {number(row.value)}" for row in token.strongest[:HINTED]
    )
    if chosen is None or span.special or span.left_out:
        return format_html('<span title="{}">{}</span>', hint, drawn) if hint else drawn
    return format_html(
        '<label title="{}"><input type="checkbox" name="tokens" id="t{}" value="{}" '
        'aria-label="Token {}, {}"{}>{}</label>',
        hint or "No feature within the density fires here.",
        span.position,
        token_positions(token),
        span.position,
        visible(span.text),
        mark_safe(" checked") if span.position in chosen else "",
        drawn,
    )
