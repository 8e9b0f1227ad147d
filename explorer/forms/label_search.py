"""The query string of the search by label, as a form: a wrong value is an error of its field."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.http import QueryDict

from explorer.forms.fields import RangesForm, ShareField, number_field
from explorer.forms.search import ScopeForm
from features import hook_names
from features.models import Sae
from features.selectors.label_query import MAX_QUERY_LENGTH
from features.selectors.label_ranking import MAX_RESULTS
from features.selectors.label_search import FILTERS

PAGE = 50
MODES = [
    ("", "words at once, meaning a moment later"),
    ("hybrid", "both"),
    ("text", "words"),
    ("semantic", "meaning"),
]
ORDERS = [
    ("", "relevance"),
    ("-score", "label's score"),
    ("-support", "label's support"),
    ("-causal_effect", "causal effect"),
    ("-density", "density, densest first"),
    ("density", "density, rarest first"),
    ("-max_activation", "maximum"),
]
ALIVE = [("", "alive or dead"), ("yes", "alive"), ("no", "dead")]


class LabelForm(RangesForm, ScopeForm):
    """Words and filters. No model means all models."""

    every_model = True
    q = forms.CharField(
        required=False,
        max_length=MAX_QUERY_LENGTH,
        label="Labels",
        widget=forms.TextInput(
            {
                "type": "search",
                "placeholder": "closing brackets",
                "autocomplete": "off",
                "data-key": "/",
                "data-key-name": "Search labels",
            }
        ),
        error_messages={
            "max_length": f"At most {MAX_QUERY_LENGTH} characters, as many as a label has. "
            "Search a text by “Text”."
        },
    )
    layer = forms.ChoiceField(required=False)
    score_min = ShareField(
        required=False, label="Score from", widget=forms.TextInput({"placeholder": "any"})
    )
    causal_min = number_field("Causal effect from")
    causal_max = number_field("Causal effect to")
    author = forms.CharField(
        required=False,
        max_length=150,
        label="By",
        widget=forms.TextInput({"placeholder": "anyone"}),
    )
    alive = forms.ChoiceField(required=False, choices=ALIVE, label="Show")
    order = forms.ChoiceField(required=False, choices=ORDERS, label="Order by")
    mode = forms.ChoiceField(required=False, choices=MODES, widget=forms.HiddenInput)
    limit = forms.IntegerField(
        required=False, min_value=1, max_value=MAX_RESULTS, widget=forms.HiddenInput
    )
    start = forms.IntegerField(
        required=False, min_value=0, max_value=10**4, widget=forms.HiddenInput
    )

    def __init__(self, data: QueryDict, searchable: Sequence[Sae]) -> None:
        super().__init__(data, searchable)
        layers = sorted(
            {
                layer
                for sae in self.offered_saes
                if (layer := hook_names.parse_hook(sae.hook).layer) is not None
            }
        )
        field = self.fields["layer"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [("", "every layer"), *((str(layer), str(layer)) for layer in layers)]

    def clean_alive(self) -> bool | None:
        """True for live features only, False for dead ones only, None for both."""
        return {"yes": True, "no": False}.get(self.cleaned_data["alive"])

    def narrowed_to(self) -> list[Sae] | None:
        """The SAEs to search, None for all; an invalid choice counts as none."""
        saes, layer = self.saes(), self.cleaned_data.get("layer")
        if layer:
            saes = [sae for sae in saes if hook_names.parse_hook(sae.hook).layer == int(layer)]
        return saes if layer or self.chosen_model or self.cleaned_data.get("sae") else None

    def narrows(self) -> bool:
        """Whether a filter is set, so that the page shows their fields."""
        return any(self.data.get(name) for name in (*FILTERS, "model", "sae", "layer", "order"))

    def filters(self) -> dict[str, Any]:
        """The filters that are set; an invalid field counts as empty."""
        return {
            name: value
            for name in FILTERS
            if (value := self.cleaned_data.get(name)) not in (None, "")
        }
