"""Labels and comments as pages show them: who made them, how they were scored, and who may change
them.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from explorer import access
from explorer.definitions import DEFINITIONS
from explorer.definitions.formats import number, share
from explorer.forms.drafts import NO_DRAFT, Draft
from explorer.plots import svg
from features.models import Comment, Label, LabelScore
from features.models.label import UPLOADED
from features.selectors.label_ranking import Part

register = template.Library()

NAMES = {"concept": "concept matcher", "logits": "what it promotes"}
KINDS: dict[str, str] = {"concept": "F1", "promotes": "AUROC"}
"""Names of scores on pages, if not their kinds."""


@register.filter
def author_name(label: Label) -> str:
    """Who or what made a label, as text: a person's name, or the method."""
    if label.by_person:
        return label.author.get_username() if label.author else "a former user"
    return method_words(label.method)


@register.filter
def method_words(method: str) -> str:
    """A method's name in words."""
    if method == Label.PERSON:
        return "people"
    name = method.removeprefix(UPLOADED)
    return NAMES.get(name, name) + (" (from a file)" if method.startswith(UPLOADED) else "")


@register.filter
def net_votes(label: Label) -> int:
    """Weights of the people for a label less those against it."""
    return label.weight + label.up - label.down


@register.filter
def votes_for(label: Label) -> int:
    """Weights of the people for it, its author among them."""
    return label.weight + label.up


@register.simple_tag
def score_line(score: LabelScore) -> SafeString:
    """One score with its kind and 95% interval, precision and recall of a rule in words, and what
    else was measured on hover.
    """
    interval = "" if score.low is None else f" ({number(score.low, 2)} to {number(score.high, 2)})"
    if score.kind == LabelScore.Kind.CONCEPT:
        interval += _right_and_found(score)
    more = {"n": f"{score.n:,}", "scorer": score.scorer, "negatives": score.negatives}
    more |= _additional_scores(score)
    about = DEFINITIONS.get(f"score_{score.kind}", DEFINITIONS["label_score"]).about
    hint = " ".join([about, *(f"{name}: {value}." for name, value in more.items() if value)])
    kind = KINDS.get(score.kind, score.kind)
    kind = f"{kind}, {score.negatives}" if score.negatives else kind
    return format_html(
        '<span title="{}">{} <b>{}</b>{}</span>', hint, kind, number(score.value, 2), interval
    )


def _right_and_found(score: LabelScore) -> str:
    shares = score.details.get("precision"), score.details.get("recall")
    if not all(isinstance(value, int | float) for value in shares):
        return ""
    return f" · right {share(round(shares[0], 2))}, finds {share(round(shares[1], 2))}"


def _additional_scores(score: LabelScore) -> dict[str, str]:
    scores = {"F1": score.f1, "Balanced accuracy": score.balanced_accuracy, "AUROC": score.auroc}
    scores |= {
        name: score.details.get(name) for name in ("precision", "recall", "base_rate", "unparsed")
    }
    return {
        name: number(value, 2) for name, value in scores.items() if isinstance(value, int | float)
    }


@register.simple_tag
def score_histogram(counts: Sequence[int]) -> SafeString:
    """Labels by their score, in equal bins from 0 to 1."""
    step = 1 / len(counts)
    hints = [
        f"{number(i * step, 2)} to {number((i + 1) * step, 2)}, labels: {n:,}"
        for i, n in enumerate(counts)
    ]
    ticks = [svg.Tick(0, "0"), svg.Tick(0.5, "0.5"), svg.Tick(1, "1")]
    return svg.bars(counts, hints, ticks, f"Scores of labels from 0 to 1; labels: {sum(counts):,}.")


@register.filter
def editable_by(thing: Label | Comment, user: Any) -> bool:
    """Whether that visitor may change it."""
    if isinstance(thing, Comment):
        return access.may_edit_comment(user, thing)
    return access.may_edit_label(user, thing)


@register.filter
def curates(user: Any) -> bool:
    """Whether that visitor is a curator."""
    return access.may_curate(user)


@register.simple_tag(takes_context=True)
def draft_of(context: dict[str, Any], form: str, pk: int | str = "") -> Draft:
    """The rejected draft of that form; an empty draft if there is none."""
    draft: Draft = context.get("draft") or NO_DRAFT
    return draft if draft.form == (f"{form}-{pk}" if pk else form) else NO_DRAFT


@register.filter
def text_or(draft: Draft, stored: str) -> str:
    """The text of a draft; what is stored where there is no draft."""
    return draft.text if draft.form else stored


@register.filter
def marked(parts: Iterable[Part]) -> SafeString:
    """A label's text with the words that answer a search marked."""
    marks = {True: "<mark>{}</mark>", False: "{}"}
    return format_html_join("", "{}", ((format_html(marks[p.hit], p.text),) for p in parts))
