"""Steered texts: coloured by a feature, underlined where they differ from the default text, with
log-probability and KL on hover.
"""

from collections.abc import Iterable

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from explorer.definitions.formats import number
from explorer.templatetags.heatmap import BREAKS, token_text
from features.records import Intervention
from features.selectors.effects import Effect, effect
from features.selectors.feature_view import FeatureView
from features.steering.interventions import METHODS, METHODS_WITH_STRENGTH
from features.steering.transcript import Change, SteeredSpan

register = template.Library()


@register.simple_tag
def steered_text(tokens: Iterable[SteeredSpan]) -> SafeString:
    """One `<t>` per token span."""
    return mark_safe("".join(_token(token) for token in tokens))


@register.filter
def in_words(intervention: Intervention) -> str:
    """What is done to a feature of a run: “add 2 × its maximum 12.1”."""
    method, strength = METHODS[intervention.method], f"{intervention.strength:g}"
    if intervention.method not in METHODS_WITH_STRENGTH:
        return method
    if intervention.method == "scale":
        return f"{method} {strength}"
    if intervention.unit == "norm":
        return f"{method} {strength} × residual norm"
    return f"{method} {strength} × its maximum {number(intervention.maximum)}"


@register.simple_tag
def differences(changes: Iterable[Change]) -> SafeString:
    """The two texts as one: what was taken out and what was put in instead."""
    return format_html_join("", "{}", ((_difference(change),) for change in changes))


@register.simple_tag
def effect_of(view: FeatureView) -> Effect | None:
    """What changing the feature did, with the tokens it promotes as text; None until it was
    measured.
    """
    return effect(view)


def _token(token: SteeredSpan) -> SafeString:
    title = f"log-probability {number(token.logprob)}"
    if token.kl is not None:
        title += f" · KL from default {number(token.kl)}"
    if token.span.value:
        title += f" · activation {number(token.span.value)}"
    kinds = {
        "changed": token.changed,
        "special": token.span.special,
        "negative": (token.span.value or 0.0) < 0,
    }
    names = " ".join(name for name, holds in kinds.items() if holds)
    return format_html(
        '<t class="{}" style="--a:{}" title="{}">{}</t>',
        names,
        f"{token.span.strength:.2f}",
        title,
        token_text(token.span.text, BREAKS),
    )


def _difference(change: Change) -> SafeString:
    old, new = token_text(change.before, "\n"), token_text(change.after, "\n")
    if change.same:
        return format_html("<span>{}</span>", old)
    before = format_html("<del>{}</del>", old) if old else ""
    after = format_html("<ins>{}</ins>", new) if new else ""
    return format_html("{}{}", before, after)
