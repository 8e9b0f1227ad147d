"""Features found by their labels, at /search/: by words at once, and by meaning a moment later."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from django.http import HttpResponse

from explorer.http import HtmxRequest, page
from explorer.label_form import PAGE, LabelForm
from features.models import Sae
from features.selectors import label_search
from features.selectors.label_search import Found, Words


class Shown(NamedTuple):
    """What the page shows: features, and what is to be said of how they were found."""

    words: Words
    rows: list[Found]
    features: int


def search(request: HtmxRequest, known: Sequence[Sae]) -> HttpResponse:
    """The page, or what was found alone."""
    form = LabelForm(request.GET, known)
    saes = form.narrowed_to()
    said = form.cleaned_data.get("q", "")
    context: dict[str, Any] = {
        "kind": "label",
        "form": form,
        "known": known,
        "saes": saes or [],
        "said": said,
        "weighed": label_search.MOST_WEIGHED,
        "shown": _shown(form, saes, said) if said else None,
    }
    return page(request, "search/label.html", context, {"found": "found"})


def _shown(form: LabelForm, saes: Sequence[Sae] | None, said: str) -> Shown:
    asked = form.cleaned_data
    words = label_search.search_words(said, saes, form.filters())
    order, limit = asked.get("order") or "relevance", asked.get("limit") or PAGE
    return Shown(words, *label_search.merge(words.query, words.hits, [], order=order, limit=limit))
