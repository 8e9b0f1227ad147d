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


class SearchResults(NamedTuple):
    """One page of features, and how they were searched.

    `meaning_pending`: the search by meaning follows; `meaning_error`: why it failed. Rows begin at
    position `start`, the next page at `next`, which is None at the end.
    """

    words: Words
    rows: list[Found]
    features: int
    mode: str
    meaning_pending: bool
    meaning_error: str
    start: int
    next: int | None


def search(request: HtmxRequest, searchable: Sequence[Sae]) -> HttpResponse:
    """The page, or for htmx the results alone."""
    form = LabelForm(request.GET, searchable)
    saes = form.narrowed_to()
    query = form.cleaned_data.get("q", "")
    context: dict[str, Any] = {
        "kind": "label",
        "form": form,
        "searchable": searchable,
        "saes": saes or [],
        "query": query,
        "max_ranked": label_search.MAX_RANKED,
        "max_results": label_ranking.MAX_RESULTS if form.cleaned_data.get("order") else None,
        "results": _search_results(form, saes, query) if query else None,
    }
    return page(request, "search/label.html", context, {"results": "results"})


def _search_results(form: LabelForm, saes: Sequence[Sae] | None, query: str) -> SearchResults:
    data = form.cleaned_data
    mode, order, limit = (
        data.get("mode", ""),
        data.get("order") or "relevance",
        data.get("limit") or PAGE,
    )
    start = data.get("start") or 0
    words = label_search.search_words(query, saes, form.filters(), query_alone=mode == "semantic")
    meaning: list[Hit] = []
    meaning_error = ""
    if mode in ("hybrid", "semantic"):
        meaning, meaning_error = _meaning(form, saes, query)
    words = label_search.add_meaning(words, meaning)
    merged = label_ranking.merge(
        words.query, words.hits, meaning, order=order, limit=limit, start=start
    )
    after = start + limit if start + limit < merged.features else None
    pending = not mode and settings.EMBEDDER != OFF
    return SearchResults(words, *merged, mode, pending, meaning_error, start, after)


def _meaning(form: LabelForm, saes: Sequence[Sae] | None, query: str) -> tuple[list[Hit], str]:
    """The labels nearest in meaning, or why the search failed."""
    try:
        return label_search.search_meaning(query, saes, form.filters()), ""
    except InvalidInput as error:
        return [], error.message
    except inference_requests.NoAnswer as error:
        return [], str(error)
