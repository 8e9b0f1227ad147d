"""A context of the corpus whole, with every feature of an SAE that fires on it."""

from django.http import HttpResponse
from django.views.decorators.http import require_safe

from explorer.definitions import DEFINITIONS
from explorer.forms.search import ContextForm
from explorer.http.inference import inference_result
from explorer.http.requests import Choice, HtmxRequest, NotHere, page
from explorer.views.catalog import find_sae
from explorer.views.search import chosen_boxes
from features.models import Sae, Sequence
from features.selectors import contexts as context_selectors
from features.selectors import text_search
from features.selectors.text_search import Text, TextSearch


@require_safe
def context(request: HtmxRequest, model: str, sae: str, pk: int) -> HttpResponse:
    """The stored token ids through a warm model; what the query string chooses is ranked, all where
    it chooses nothing.
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
    found = _found(form, owner, view.sequence)
    wanted = form.wanted()
    shown = {
        "sae": owner,
        "view": view,
        "context": view.sequence,
        "form": form,
        "wanted": wanted,
        "found": found,
        "chosen": chosen_boxes(found, wanted) if found else set(),
        "value": DEFINITIONS[f"search_{wanted.by}"],
        "listed": found.texts[0] if found else [],
    }
    return page(request, "features/context.html", shown, {"found": "found"})


def _found(form: ContextForm, sae: Sae, sequence: Sequence) -> TextSearch | None:
    """What fires there; what is in the way is told by the form."""
    form.full_clean()
    text = _read(form, sae, sequence)
    if text is None:
        return None
    last = len(sequence.token_ids) - 1
    if any(place > last for place in form.cleaned_data.get("tokens", [])):
        form.add_error(
            "tokens", f"This context has the tokens 0 to {last:,}; those beyond are left out."
        )
    return text_search.search([sae], text, form.wanted())


def _read(form: ContextForm, sae: Sae, sequence: Sequence) -> Text | None:
    return inference_result(form, None, lambda: text_search.read_stored(sae, sequence.token_ids))
