"""Names and settings in words."""

from collections.abc import Iterable
from typing import Any

from django import template
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from explorer.definitions.formats import DASH, count
from features import hook_names

register = template.Library()


@register.filter
def hook_words(hook: str) -> str:
    """Where a hook reads, in words: residual stream after layer 2."""
    return hook_names.parse_hook(hook).words


@register.filter
def setting(value: Any) -> str:
    """A setting's value as text: yes and no, thousands apart, a dash where there is none."""
    if value is None or value == "":
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return count(value) if abs(value) >= 10_000 else str(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


@register.filter
def words(name: str) -> str:
    """A setting's name as words: learning_rate is “Learning rate”."""
    return name.replace("_", " ").capitalize()


@register.filter
def quoted(texts: Iterable[str]) -> str:
    """Texts in quotation marks with commas between, for a title."""
    return ", ".join(f"“{text}”" for text in texts)


@register.filter
def quoted_apart(texts: Iterable[str]) -> SafeString:
    """The same, each apart from the direction of the text around it."""
    return format_html_join(", ", "<bdi>“{}”</bdi>", ((text,) for text in texts))


@register.filter
def quoted_bold(texts: Iterable[str]) -> SafeString:
    """The same, each in bold."""
    return format_html_join(", ", "<b>“{}”</b>", ((text,) for text in texts))
