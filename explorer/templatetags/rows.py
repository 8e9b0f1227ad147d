"""Rows of a feature's page as HTML: examples, logits and neighbours, a hundred of them a page, each
of ten values.

Written here rather than in templates, where every value costs as much as a row does here.
"""

from collections.abc import Iterable, Sequence
from html import escape
from urllib.parse import quote

from django import template
from django.urls import reverse
from django.utils.html import conditional_escape
from django.utils.safestring import SafeString, mark_safe

from explorer.templatetags.heatmap import aligned, crop, heatmap
from explorer.templatetags.numbers import count, number, share, signed
from features.models import Feature, LanguageModel, Sae
from features.selectors.feature_view import Near, Partner, ShownExample, TokenLogit

register = template.Library()


@register.simple_tag
def example_rows(
    examples: Iterable[ShownExample], feature: Feature, width: str, breaks: bool, state: str
) -> SafeString:
    """Examples: the value, which leads to the whole context, the boxes, and the way into the test
    box, where `state` is kept.
    """
    contexts = escape(f"{feature.sae.get_absolute_url()}contexts/")
    lit, kept = escape(f"?feature={feature.sae.slug}/{feature.index}"), conditional_escape(state)
    return mark_safe(
        "".join(
            f'<div class="example"><output><a href="{contexts}{e.sequence}/{lit}" '
            f'title="{escape(e.document)}, context'
            f" {e.position}: all of it, with every feature that "
            f'fires">{number(e.value)}</a></output>'
            f'<div class="tokens" data-pins="{e.name}">{_boxes(e, width, breaks)}</div>'
            f'<a class="try" href="try/{e.name}/{kept}" title="Take this text into the test box"'
            ' aria-label="Test on this text">test</a></div>\n'
            for e in examples
        )
    )


@register.simple_tag
def logit_rows(
    up: Sequence[TokenLogit], down: Sequence[TokenLogit], model: LanguageModel
) -> SafeString:
    """What a feature promotes beside what it suppresses, each with a bar against the largest, and
    the way to search it.
    """
    search = escape(f"{reverse('search')}?model={quote(model.slug)}&token=")
    sides = [("up", up, _largest(up)), ("down", down, _largest(down))]
    pairs = zip(
        *([_logit(kind, row, largest, search) for row in rows] for kind, rows, largest in sides),
        strict=False,
    )
    return mark_safe("".join(first + second for first, second in pairs))


@register.simple_tag
def near_rows(rows: Iterable[Near | Partner], sae: Sae) -> SafeString:
    """Features of the same SAE by cosine, or by shared tokens, with the tokens on which
    both fire.
    """
    return mark_safe("".join(_near(row, escape(sae.get_absolute_url())) for row in rows))


def _boxes(e: ShownExample, width: str, breaks: bool) -> SafeString:
    if width == "stacked":
        return aligned(crop(e.tokens))
    return heatmap(e.tokens if width == "full" else crop(e.tokens), breaks)


def _largest(rows: Iterable[TokenLogit]) -> float:
    return max((abs(row.logit) for row in rows), default=0.0) or 1.0


def _logit(kind: str, row: TokenLogit, largest: float, search: str) -> str:
    link = ""
    if row.plain:
        title = "Features that fire on this token, or promote it"
        link = (
            f'<a href="{search}{quote(row.plain, safe="")}" title="{title}">{escape(row.text)}</a>'
        )
    return (
        f'<div class="{kind}" '
        f'style="--w:{abs(row.logit) / largest:.2f}"><span>{link}</span>{signed(row.logit)}</div>\n'
    )


def _near(row: Near | Partner, home: str) -> str:
    if isinstance(row, Near):
        wide = told = f"{row.cosine:.2f}"
    else:
        wide, told = f"{row.jaccard:.4f}", share(row.jaccard)
    return (
        f'<a href="{home}{row.index}/">{row.index}</a><span class="measure" '
        f'style="--w:{wide}"></span>'
        f"<i>{told}</i><small>{count(row.both)}</small>"
    )
