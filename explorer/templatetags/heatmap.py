"""Token heatmaps: `features.token_spans.Span` boxes as small HTML, since a page holds thousands of
them.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from html import escape

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from explorer.templatetags.numbers import number
from features.token_spans import Span, around

register = template.Library()

BREAKS, FLAT = "↵\n", "↵ "
SNIPPET_BEFORE, SNIPPET_AFTER = 24, 12


@register.simple_tag
def heatmap(spans: Iterable[Span], breaks: bool = True) -> SafeString:
    """One `<t>` per box, value in `data-v` and strength in `--a`; `breaks=False` shows line ends
    without breaking there.
    """
    return mark_safe("".join(_box(span, BREAKS if breaks else FLAT) for span in spans))


@register.simple_tag
def aligned(spans: Sequence[Span]) -> SafeString:
    """One line in three cells, the peak in the middle: lines below one another share a column of
    peaks.
    """
    middle = next((i for i, span in enumerate(spans) if span.peak), 0)
    before, after = (
        heatmap(spans[:middle], breaks=False),
        heatmap(spans[middle + 1 :], breaks=False),
    )
    peak = heatmap(spans[middle : middle + 1], breaks=False)
    return format_html(
        '<span class="before"><span>{}</span></span><span>{}</span><span class="after">{}</span>',
        before,
        peak,
        after,
    )


@register.filter
def crop(spans: Sequence[Span], before: int = SNIPPET_BEFORE) -> list[Span]:
    """The part of a context around its peak."""
    return around(spans, before, SNIPPET_AFTER)


def _box(span: Span, line_end: str) -> str:
    marks = ""
    if span.peak or span.special:
        names = " ".join(
            name for name, holds in (("peak", span.peak), ("special", span.special)) if holds
        )
        marks = f' class="{names}"'
    if span.value is not None:
        marks += f' data-v="{number(span.value)}" style="--a:{span.strength:.2f}"'
    return f"<t{marks}>{_text(span.text, line_end)}</t>"


@lru_cache(maxsize=10_000)
def _text(text: str, line_end: str) -> str:
    """Kept, as texts are made of few different tokens."""
    return escape(text.replace("\r\n", "\n").replace("\n", line_end))
