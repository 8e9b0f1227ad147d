"""Rows of a feature's page as HTML: examples, logits and neighbours, a hundred of them a page, each
of ten values.

They are tags in Python because a template engine takes as long for one value as these for a row.
"""

from collections.abc import Iterable, Sequence
from urllib.parse import quote

from django import template
from django.urls import reverse
from django.utils.safestring import SafeString

from explorer.definitions.formats import count, number, share, signed
from explorer.templatetags.heatmap import aligned, crop, heatmap
from explorer.templatetags.markup import concatenated, format_row
from features.models import Feature, LanguageModel, Sae
from features.selectors.feature_view import Near, Partner, ShownExample, TokenLogit

register = template.Library()

EXAMPLE = (
    '<div class="example"><output>'
    '<a href="%s" title="%s, context %s: all of it, with every feature that fires">%s</a>'
    '</output><div class="tokens" data-pins="%s">%s</div>'
    '<a class="example-try" href="try/%s/%s" title="Take this text into the test box"'
    ' aria-label="Test on this text">test</a></div>\n'
)
TOKEN = '<a href="%s" title="Features that fire on this token, or promote it">%s</a>'
LOGIT = '<div class="%s" style="--w:%s"><span>%s</span>%s</div>\n'
NEAR = (
    '<a href="%s%s/">%s</a><span class="neighbours-bar" style="--w:%s"></span>'
    "<i>%s</i><small>%s</small>"
)


@register.simple_tag
def example_rows(
    examples: Iterable[ShownExample], feature: Feature, width: str, breaks: bool, state: str
) -> SafeString:
    """Examples: the value as a link to the whole context, the heatmap, and a link that takes the
    text into the test box; `state` is the query string of that link.
    """
    contexts = f"{feature.sae.get_absolute_url()}contexts/"
    query = f"?feature={feature.sae.slug}/{feature.index}"
    return concatenated(
        format_row(
            EXAMPLE,
            f"{contexts}{example.sequence}/{query}",
            example.document,
            example.position,
            number(example.value),
            example.name,
            _boxes(example, width, breaks),
            example.name,
            state,
        )
        for example in examples
    )


@register.simple_tag
def logit_rows(
    up: Sequence[TokenLogit], down: Sequence[TokenLogit], model: LanguageModel
) -> SafeString:
    """Promoted tokens, each followed by a suppressed one: a link to the search for the token, and a
    bar against the largest logit of its side.
    """
    search = f"{reverse('search')}?model={quote(model.slug)}&token="
    promoted, suppressed = (
        [_logit(side, row, _largest(rows), search) for row in rows]
        for side, rows in (("up", up), ("down", down))
    )
    return concatenated(row for pair in zip(promoted, suppressed, strict=False) for row in pair)


@register.simple_tag
def near_rows(rows: Iterable[Near | Partner], sae: Sae) -> SafeString:
    """Features of the same SAE by cosine, or by shared tokens, with the tokens on which
    both fire.
    """
    sae_url = sae.get_absolute_url()
    return concatenated(_near(row, sae_url) for row in rows)


def _boxes(example: ShownExample, width: str, breaks: bool) -> SafeString:
    if width == "stacked":
        return aligned(crop(example.tokens))
    return heatmap(example.tokens if width == "full" else crop(example.tokens), breaks)


def _largest(rows: Iterable[TokenLogit]) -> float:
    return max((abs(row.logit) for row in rows), default=0.0) or 1.0


def _logit(side: str, row: TokenLogit, largest: float, search: str) -> SafeString:
    link = SafeString()
    if row.plain:
        query = row.plain if row.plain.isprintable() else row.text
        link = format_row(TOKEN, f"{search}{quote(query, safe='')}", row.text)
    return format_row(LOGIT, side, f"{abs(row.logit) / largest:.2f}", link, signed(row.logit))


def _near(row: Near | Partner, sae_url: str) -> SafeString:
    if isinstance(row, Near):
        width = text = f"{row.cosine:.2f}"
    else:
        width, text = f"{row.jaccard:.4f}", share(row.jaccard)
    return format_row(NEAR, sae_url, row.index, row.index, width, text, count(row.both))
