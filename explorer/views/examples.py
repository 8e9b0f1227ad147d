"""Examples elsewhere: one as the text of the test form, and all of them embedded in other sites."""

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
def test_on_example(
    request: HtmxRequest, model: str, sae: str, index: int, band: int, rank: int
) -> HttpResponse:
    """Redirect to the feature's page with the example as its test text; other parameters stay."""
    url = f"/{model}/{sae}/{index}/"
    try:
        text = context_selectors.text_of_example(model, sae, index, band, rank)
    except Example.DoesNotExist:
        back = find_row(model, sae, index).get_absolute_url()
        raise NotHere(
            "There is no such example: dashboards may have been computed again.",
            [Choice(f"feature {index}", back)],
        ) from None
    parameters = request.GET.copy()
    parameters["text"] = text
    return HttpResponseRedirect(f"{url}?{parameters.urlencode()}#test")


@xframe_options_exempt
@require_safe
def embed(request: HtmxRequest, model: str, sae: str, index: int) -> HttpResponse:
    """The heatmaps of a feature's top examples, for an iframe on any site: read-only, without a
    session.
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
