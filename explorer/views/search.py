"""Search for features: by labels, by a text, by the difference of two texts, and by a token."""

from collections.abc import Sequence

from django.http import HttpResponse
from django.views.decorators.http import require_safe

from explorer.definitions import DEFINITIONS, Definition
from explorer.forms.search import TextForm, TokenForm
from explorer.http.inference import inference_result
from explorer.http.requests import HtmxRequest, page
from explorer.views import label_search
from features.models import Sae
from features.selectors import catalog as catalog_selectors
from features.selectors import text_search
from features.selectors import tokens as token_selectors
from features.selectors.text_search import Text, TextSearch, TextSearchOptions

MAX_LISTED = 200
"""Tokens in the table of the features that fire on each."""


@require_safe
def search(request: HtmxRequest) -> HttpResponse:
    """Search by `token`, by `text` and perhaps `text2`, or else by labels for `q`."""
    searchable = list(catalog_selectors.searchable())
    if "token" in request.GET:
        return _by_token(request, searchable)
    if "text" in request.GET or "text2" in request.GET:
        return _by_text(request, searchable)
    return label_search.search(request, searchable)


def _by_text(request: HtmxRequest, searchable: Sequence[Sae]) -> HttpResponse:
    form = TextForm(request.GET, searchable)
    saes = form.saes()
    options = form.options()
    results = _search_text(form, saes, options) if saes else None
    context = {
        "kind": "texts" if form.two else "text",
        "form": form,
        "searchable": searchable,
        "saes": saes,
        "options": options,
        "chosen": chosen_spans(results, options) if results else set(),
        "results": results,
        "value": _term(form, options),
        "listed": results.texts[0][:MAX_LISTED] if results else [],
    }
    return page(request, "search/text.html", context, {"results": "results"})


def _by_token(request: HtmxRequest, searchable: Sequence[Sae]) -> HttpResponse:
    form = TokenForm(request.GET, searchable)
    saes = form.saes()
    token = form.cleaned_data.get("token", "")
    results = token_selectors.search(saes, token) if saes and token else None
    context = {
        "kind": "token",
        "form": form,
        "searchable": searchable,
        "saes": saes,
        "token": token,
        "results": results,
    }
    return page(request, "search/token.html", context, {"results": "results"})


def chosen_spans(results: TextSearch, options: TextSearchOptions) -> set[int]:
    """First positions of the token spans that hold a chosen token."""
    chosen = set(options.chosen)
    spans = [token.span for token in results.texts[0]]
    return {
        s.position
        for s in spans
        if chosen.intersection(range(s.position, s.position + len(s.token_ids)))
    }


def _search_text(
    form: TextForm, saes: Sequence[Sae], options: TextSearchOptions
) -> TextSearch | None:
    """The features that fire on the texts of the form; errors are added to its fields."""
    texts = {
        name: _read_text(form, saes, name)
        for name in (("text", "text2") if form.two else ("text",))
    }
    first, second = texts["text"], texts.get("text2")
    if first is None or (form.two and second is None):
        return None
    if second is not None:
        return text_search.compare(saes, first, second, options)
    last = max((span.position + len(span.token_ids) for span in first.tokens), default=0) - 1
    if any(position > last for position in options.chosen):
        form.add_error(
            "tokens", f"This text has the tokens 0 to {last:,}; those beyond are left out."
        )
    return text_search.search(saes, first, options)


def _read_text(form: TextForm, saes: Sequence[Sae], name: str) -> Text | None:
    text = form.cleaned_data.get(name)
    if not text:
        return None
    return inference_result(
        form, name, lambda: text_search.load_text(saes, text), own=form.fields.keys() - {"text"}
    )


def _term(form: TextForm, options: TextSearchOptions) -> Definition:
    return DEFINITIONS[f"{'apart' if form.two else 'search'}_{options.by}"]
