"""Examples outside the feature's page: one taken into the test box, and all of them inside somebody
else's page.
"""

from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.clickjacking import xframe_options_exempt
from django.views.decorators.http import require_safe

from explorer.forms.features import EmbedForm
from explorer.http.requests import Choice, HtmxRequest, NotHere
from explorer.views.features import find_feature, find_row
from features.models import Example
from features.selectors import contexts as context_selectors


@require_safe
def tried(
    request: HtmxRequest, model: str, sae: str, index: int, band: int, rank: int
) -> HttpResponse:
    """Go to the feature's page with the example's text in its test box; what else the query string
    says stays.
    """
    address = f"/{model}/{sae}/{index}/"
    try:
        text = context_selectors.text_of_example(model, sae, index, band, rank)
    except Example.DoesNotExist:
        back = find_row(model, sae, index).get_absolute_url()
        raise NotHere(
            "There is no such example: dashboards may have been computed again.",
            [Choice(f"feature {index}", back)],
        ) from None
    kept = request.GET.copy()
    kept["text"] = text
    return HttpResponseRedirect(f"{address}?{kept.urlencode()}#test")


@xframe_options_exempt
@require_safe
def embed(request: HtmxRequest, model: str, sae: str, index: int) -> HttpResponse:
    """The heatmaps of a feature's top examples alone, for an iframe anywhere; it changes nothing
    and knows no session.
    """
    form = EmbedForm(request.GET)
    width, breaks = form.chosen()
    view = find_feature(model, sae, index)
    top = next((band.examples for band in view.bands if band.number == 0), [])
    context = {
        "view": view,
        "feature": view.feature,
        "sae": view.sae,
        "form": form,
        "width": width,
        "breaks": breaks,
        "examples": top[: form.chosen_examples()],
    }
    return render(request, "features/embed.html", context)
