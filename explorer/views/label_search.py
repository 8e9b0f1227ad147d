"""Search by label, at /search/: by words at once, and by meaning a moment later."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from django.conf import settings
from django.http import HttpResponse

from explorer.forms.label_search import PAGE, LabelForm
from explorer.http.requests import HtmxRequest, page
from features.inference import requests as inference_requests
from features.models import Sae
from features.records import InvalidInput
from features.selectors import label_ranking, label_search
from features.selectors.label_ranking import Found
from features.selectors.label_search import Hit, Words
from features.services.embeddings import OFF


class Shown(NamedTuple):
    """What the page shows: features, and what is to be query of how they were found.

    `later` says that meaning is still to be asked; `silent` why it was not searched. Rows begin at
    place `start` of all, and `next` is where those after them do; None at the end.
    """

    words: Words
    rows: list[Found]
    features: int
    mode: str
    later: bool
    silent: str
    start: int
    next: int | None


def search(request: HtmxRequest, known: Sequence[Sae]) -> HttpResponse:
    """The page, or what was found alone."""
    form = LabelForm(request.GET, known)
    saes = form.narrowed_to()
    query = form.cleaned_data.get("q", "")
    context: dict[str, Any] = {
        "kind": "label",
        "form": form,
        "known": known,
        "saes": saes or [],
        "said": query,
        "weighed": label_search.MAX_RANKED,
        "most": label_ranking.MAX_RESULTS if form.cleaned_data.get("order") else None,
        "shown": _search_results(form, saes, query) if query else None,
    }
    return page(request, "search/label.html", context, {"found": "found"})


def _search_results(form: LabelForm, saes: Sequence[Sae] | None, query: str) -> Shown:
    asked = form.cleaned_data
    mode, order, limit = (
        asked.get("mode", ""),
        asked.get("order") or "relevance",
        asked.get("limit") or PAGE,
    )
    start = asked.get("start") or 0
    words = label_search.search_words(query, saes, form.filters(), query_alone=mode == "semantic")
    meaning, silent = _meaning(form, saes, query) if mode in ("hybrid", "semantic") else ([], "")
    words = label_search.add_meaning(words, meaning)
    merged = label_ranking.merge(
        words.query, words.hits, meaning, order=order, limit=limit, start=start
    )
    after = start + limit if start + limit < merged.features else None
    return Shown(words, *merged, mode, not mode and settings.EMBEDDER != OFF, silent, start, after)


def _meaning(form: LabelForm, saes: Sequence[Sae] | None, query: str) -> tuple[list[Hit], str]:
    """The labels nearest in meaning, or why the search failed."""
    try:
        return label_search.search_meaning(query, saes, form.filters()), ""
    except InvalidInput as error:
        return [], error.message
    except inference_requests.NoAnswer as error:
        return [], str(error)
