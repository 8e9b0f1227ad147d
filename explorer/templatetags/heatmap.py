"""Token heatmaps as small HTML, since a page holds thousands of token spans."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import compress, product

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from explorer.definitions.formats import number
from explorer.templatetags.markup import concatenated, format_row
from features.character_names import code_point, hidden_places, unicode_name
from features.token_spans import Span, around

register = template.Library()

BREAKS, FLAT = "↵\n", "↵ "
SNIPPET_BEFORE, SNIPPET_AFTER = 24, 12
FIRING = '<t%s data-v="%s" style="--a:%s">%s</t>'
LEFT_OUT = (
    "Not counted: its norm at the hook is far above the median (an attention sink), or it is among "
    "the first tokens of its context."
)
"""What a grey token means that is not special."""
HIDDEN = '<abbr title="%s">%s</abbr>'
KINDS = ("peak", "special", "negative")


def _class_attribute(kinds: tuple[bool, ...]) -> SafeString:
    names = " ".join(compress(KINDS, kinds))
    return format_html(' class="{}"', names) if names else mark_safe("")


CLASSES = {kinds: _class_attribute(kinds) for kinds in product((False, True), repeat=len(KINDS))}
"""The class attribute of a box, by whether it is the peak, is special, and fires below zero."""
GREY = format_html(' class="left-out" title="{}"', LEFT_OUT)


@register.simple_tag
def heatmap(spans: Iterable[Span], breaks: bool = True) -> SafeString:
    """One `<t>` per span, value in `data-v` and strength in `--a`; `breaks=False` shows line ends
    without breaking there.
    """
    line_end = BREAKS if breaks else FLAT
    return concatenated(
        _silent_token(span.text, line_end, span.peak, span.special, span.left_out)
        if span.value is None
        else _firing_token(span, line_end)
        for span in spans
    )


@register.simple_tag
def aligned(spans: Sequence[Span]) -> SafeString:
    """One line in three cells, the peak in the middle: lines below one another share a column of
    peaks.
    """
    middle = next((i for i, span in enumerate(spans) if span.peak), 0)
    return format_html(
        '<span class="before"><span>{}</span></span><span>{}</span><span class="after">{}</span>',
        heatmap(spans[:middle], breaks=False),
        heatmap(spans[middle : middle + 1], breaks=False),
        heatmap(spans[middle + 1 :], breaks=False),
    )


@register.filter
def crop(spans: Sequence[Span], before: int = SNIPPET_BEFORE) -> list[Span]:
    """The part of a context around its peak."""
    return around(spans, before, SNIPPET_AFTER)


def _firing_token(span: Span, line_end: str) -> SafeString:
    return format_row(
        FIRING,
        CLASSES[span.peak, span.special, (span.value or 0.0) < 0],
        number(span.value),
        f"{span.strength:.2f}",
        token_text(span.text, line_end),
    )


@lru_cache(maxsize=10_000)
def _silent_token(
    text: str, line_end: str, peak: bool, special: bool, left_out: bool
) -> SafeString:
    """A token without activation. Cached, as texts consist of few different tokens."""
    names = GREY if left_out else CLASSES[peak, special, False]
    return format_row("<t%s>%s</t>", names, token_text(text, line_end))


@lru_cache(maxsize=10_000)
def token_text(text: str, line_end: str) -> SafeString:
    """The text of a token with its line ends visible, and names in place of hidden characters."""
    lines = text.replace("\r\n", "\n").replace("\r", "␍").replace("\n", line_end)
    hidden = hidden_places(lines)
    if not hidden:
        return format_row("%s", lines)
    return concatenated(
        format_row(HIDDEN, unicode_name(character), code_point(character))
        if place in hidden
        else format_row("%s", character)
        for place, character in enumerate(lines)
    )
