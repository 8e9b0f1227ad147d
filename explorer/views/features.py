"""The page of one feature, and a way to a random one."""

from django.http import HttpResponse, HttpResponseRedirect
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from explorer.forms.drafts import Draft, labels_context, take_draft
from explorer.forms.features import ExamplesForm, TestForm
from explorer.http.inference import inference_result
from explorer.http.requests import Choice, HtmxRequest, NotHere, page
from explorer.views.catalog import find_sae
from features.inference.text_activations import FeatureReading, read_feature
from features.models import Feature
from features.selectors import features as feature_selectors
from features.selectors.feature_view import FeatureView


@require_safe
def feature(request: HtmxRequest, model: str, sae: str, index: int) -> HttpResponse:
    """Everything about one feature."""
    return feature_page(request, model, sae, index, take_draft(request))


def feature_page(
    request: HtmxRequest, model: str, sae: str, index: int, draft: Draft, status: int = 200
) -> HttpResponse:
    """The page, with a rejected draft in its form."""
    form = ExamplesForm(request.GET)
    width, breaks = form.chosen()
    view = find_feature(model, sae, index, whole=width == "full")
    test = TestForm(request.GET)
    part = {"examples": "examples", "test": "test"}
    context = (
        {}
        if request.htmx and request.htmx.target in part
        else labels_context(request, view.feature, draft)
    )
    context |= {
        "test": test,
        "reading": activations_of_form(view.feature, test),
        "view": view,
        "feature": view.feature,
        "sae": view.sae,
        "form": form,
        "width": width,
        "breaks": breaks,
        "feature_url": request.build_absolute_uri(view.feature.get_absolute_url()),
    }
    return page(request, "features/feature.html", context, part, status)


def find_feature(model: str, sae: str, index: int, *, whole: bool = True) -> FeatureView:
    """The feature with its dashboard, or a 404 that links to existing ones."""
    try:
        return feature_selectors.feature(model, sae, index, whole=whole)
    except (Feature.DoesNotExist, OverflowError):
        raise no_feature(model, sae, index) from None


def find_row(model: str, sae: str, index: int) -> Feature:
    """The feature's row alone, or the same 404."""
    try:
        return feature_selectors.row(model, sae, index)
    except (Feature.DoesNotExist, OverflowError):
        raise no_feature(model, sae, index) from None


def activations_of_form(feature: Feature, form: TestForm) -> FeatureReading | None:
    """The feature's activations on the text of the form; errors are added to it."""
    if not form.is_valid() or not form.cleaned_data["text"]:
        return None
    return inference_result(form, "text", lambda: read_feature(feature, form.cleaned_data["text"]))


@never_cache
@require_safe
def random(request: HtmxRequest, model: str, sae: str) -> HttpResponse:
    """Redirect to a random live feature, or to the SAE's page if none is alive."""
    owner = find_sae(model, sae)
    index = feature_selectors.random_alive(owner)
    url = owner.get_absolute_url()
    return HttpResponseRedirect(url if index is None else f"{url}{index}/")


def no_feature(model: str, slug: str, index: int) -> NotHere:
    """A 404 for a feature beyond the SAE's width, or one that is not computed yet."""
    sae = find_sae(model, slug)
    back = Choice(str(sae), sae.get_absolute_url())
    if index >= sae.width:
        first, last = (
            Choice("0", f"{back.url}0/"),
            Choice(str(sae.width - 1), f"{back.url}{sae.width - 1}/"),
        )
        return NotHere(
            f"{sae} has features 0 to {sae.width - 1:,}; there is no {index:,}.",
            [back, first, last],
        )
    return NotHere(
        f"Feature {index:,} of {sae} is not computed yet. Its dashboards appear when their job "
        "is done.",
        [back],
    )
