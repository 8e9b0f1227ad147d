"""A context of the corpus, with every feature of an SAE that fires on it."""

from django.http import HttpResponse
from django.views.decorators.http import require_safe

from explorer.definitions import DEFINITIONS
from explorer.forms.search import ContextForm
from explorer.http.inference import inference_result
from explorer.http.requests import Choice, HtmxRequest, NotHere, page
from explorer.views.catalog import find_sae
from explorer.views.search import chosen_spans
from features.models import Sae, Sequence
from features.selectors import contexts as context_selectors
from features.selectors import text_search
from features.selectors.text_search import Text, TextSearch


@require_safe
def context(request: HtmxRequest, model: str, sae: str, pk: int) -> HttpResponse:
    """A context, read by a loaded model. The features are ranked on the tokens that the query
    string chooses, or on all.
    """
    owner = find_sae(model, sae)
    try:
        view = context_selectors.context(owner, pk)
    except (Sequence.DoesNotExist, OverflowError):
        back = [Choice(str(owner), owner.get_absolute_url())]
        raise NotHere(
            f"No context {pk} of a corpus was read by {owner.model}. It may have been removed.",
            back,
        ) from None
    form = ContextForm(request.GET)
    results = _search_context(form, owner, view.sequence)
    options = form.options()
    page_context = {
        "sae": owner,
        "view": view,
        "context": view.sequence,
        "form": form,
        "options": options,
        "results": results,
        "chosen": chosen_spans(results, options) if results else set(),
        "value": DEFINITIONS[f"search_{options.by}"],
        "listed": results.texts[0] if results else [],
    }
    return page(request, "features/context.html", page_context, {"results": "results"})


def _search_context(form: ContextForm, sae: Sae, sequence: Sequence) -> TextSearch | None:
    """The features that fire on the context; errors are added to the form."""
    form.full_clean()
    text = _read_context(form, sae, sequence)
    if text is None:
        return None
    last = len(sequence.token_ids) - 1
    if any(position > last for position in form.cleaned_data.get("tokens", [])):
        form.add_error(
            "tokens", f"This context has the tokens 0 to {last:,}; those beyond are left out."
        )
    return text_search.search([sae], text, form.options())


def _read_context(form: ContextForm, sae: Sae, sequence: Sequence) -> Text | None:
    return inference_result(form, None, lambda: text_search.load_context(sae, sequence.token_ids))
