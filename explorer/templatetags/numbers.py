"""Formatted numbers with their definitions on hover."""

from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from explorer.definitions import DEFINITIONS
from explorer.definitions.formats import count, format_value, number, share, short_count, signed
from features.version import VERSION

register = template.Library()
register.simple_tag(lambda: VERSION, name="version")
for _format in (number, share, count, short_count, signed):
    register.filter(_format)


@register.simple_tag
def define(term: str) -> str:
    """The definition of a term, for a `title`; raises `KeyError` for an unknown term."""
    return DEFINITIONS[term].about


@register.simple_tag
def value_of(term: str, value: Any) -> SafeString:
    """A value in the term's form, with the definition on hover."""
    return format_html(
        '<span title="{}">{}</span>',
        DEFINITIONS[term].about,
        format_value(DEFINITIONS[term], value),
    )


@register.simple_tag
def fact(term: str, value: Any, note: str = "") -> SafeString:
    """A term of a `<dl class="facts">`: its name and value, with the definition on hover."""
    definition = DEFINITIONS[term]
    small = format_html(" <small>{}</small>", note) if note else ""
    return format_html(
        '<div title="{}"><dt>{}</dt><dd>{}{}</dd></div>',
        definition.about,
        definition.name,
        format_value(definition, value),
        small,
    )


@register.simple_tag
def head(term: str, url: str = "", sort: str = "") -> SafeString:
    """A numeric table heading with the definition on hover, and the link that sorts by it."""
    definition = DEFINITIONS[term]
    name = format_html('<a href="{}">{}</a>', url, definition.name) if url else definition.name
    aria = format_html(' aria-sort="{}"', sort) if sort else ""
    return format_html(
        '<th class="cell-number" scope="col" title="{}"{}>{}</th>', definition.about, aria, name
    )
