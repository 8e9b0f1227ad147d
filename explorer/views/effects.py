"""The effect of a feature in a typed text: the feature is changed there, and the model measured."""

from django import forms
from django.http import HttpResponse
from django.views.decorators.http import require_safe

from explorer.http.inference import inference_result
from explorer.http.requests import HtmxRequest, page
from explorer.views.features import find_row
from features.inference.text_activations import MAX_CHARACTERS, TextEffect, effect_in
from features.models import Feature


class EffectForm(forms.Form):
    """The text in which to change a feature; the field has the name of the prompt of a steering
    run.
    """

    prompt = forms.CharField(
        required=False,
        strip=False,
        max_length=MAX_CHARACTERS,
        label="Text",
        widget=forms.Textarea({"rows": 5, "placeholder": "Type or paste up to 256 tokens"}),
    )


@require_safe
def effect(request: HtmxRequest, model: str, sae: str, index: int) -> HttpResponse:
    """The feature ablated where it fires in the text, and added where it does not. Nothing is
    stored.
    """
    row, form = find_row(model, sae, index), EffectForm(request.GET)
    context = {"feature": row, "sae": row.sae, "form": form, "effect": _measured(row, form)}
    return page(request, "features/effect.html", context, {"effect-here": "here"})


def _measured(feature: Feature, form: EffectForm) -> TextEffect | None:
    """The effect, or None; errors are added to the form."""
    if not form.is_valid() or not form.cleaned_data["prompt"]:
        return None
    return inference_result(form, "prompt", lambda: effect_in(feature, form.cleaned_data["prompt"]))
