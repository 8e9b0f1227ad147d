"""Query strings of the pages of SAEs and features, as forms: a wrong value gets a message at
its field.
"""

from typing import Any

from django import forms

from explorer.definitions import DEFINITIONS
from explorer.forms.fields import RangesForm, number_field
from features.inference.text_activations import MAX_CHARACTERS
from features.selectors import saelens_registry as registry_selectors
from features.selectors.feature_columns import COLUMNS, ORDERED

COLORS = [("cluster", "Cluster"), ("density", "Density")]
WIDTHS = [("stacked", "Stacked"), ("snippet", "Snippet"), ("full", "Full")]
BREAKS = [("on", "On"), ("off", "Off")]
ALIVE = [("", "alive"), ("all", "all"), ("dead", "dead")]
LABELLED = [("", "any"), ("yes", "with a label"), ("no", "without one")]
LABELLED_VALUES: dict[str, bool | None] = {"": None, "yes": True, "no": False}
ALIVE_VALUES: dict[str, bool | None] = {"": True, "all": None, "dead": False}

RANGED = [column.name for column in COLUMNS.values() if column.ranged]


def _columns() -> list[tuple[str, str]]:
    return [(name, DEFINITIONS[name].name) for name in COLUMNS]


def _orders() -> list[tuple[str, str]]:
    """Every order in words."""
    ways = {"-": "largest first", "": "smallest first"}
    orders = [(sign, column.name) for column in ORDERED for sign in ways]
    return [
        ("index", "index"),
        *(
            (sign + name, f"{DEFINITIONS[name].name.lower()}, {ways[sign]}")
            for sign, name in orders
        ),
    ]


class BrowseForm(RangesForm):
    """Which features of an SAE to list, in what order, and after which one."""

    field_order = ("order", "alive", "has_label")
    order = forms.ChoiceField(choices=_orders, required=False, label="Order by")
    alive = forms.ChoiceField(choices=ALIVE, required=False, label="Show")
    has_label = forms.ChoiceField(choices=LABELLED, required=False, label="Label")
    max_activation_min = number_field("Maximum from", 0)
    max_activation_max = number_field("Maximum to", 0)
    causal_effect_min = number_field("Causal effect from")
    causal_effect_max = number_field("Causal effect to")
    cluster = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=2**31 - 1,
        widget=forms.TextInput({"inputmode": "numeric"}),
    )
    columns = forms.MultipleChoiceField(
        required=False, choices=_columns, label="Columns", widget=forms.CheckboxSelectMultiple
    )
    cursor = forms.CharField(required=False, max_length=500, widget=forms.HiddenInput)

    def clean_order(self) -> str:
        """An empty order is by index."""
        return self.cleaned_data["order"] or "index"

    def narrows_more(self) -> bool:
        """Whether a filter in the folded part is set or invalid."""
        folded = ("cluster", *(f"{name}_{end}" for name in RANGED[1:] for end in ("min", "max")))
        return bool(self.errors) or any(self.data.get(name) for name in folded)

    def chosen_columns(self) -> list[str]:
        """The columns to show, in their own order; the first ones if none is chosen."""
        chosen = self.cleaned_data.get("columns") or [
            column.name for column in COLUMNS.values() if column.default
        ]
        return [name for name in COLUMNS if name in chosen]

    def arguments(self) -> dict[str, Any]:
        """Arguments of the selector of the list; an invalid field counts as empty."""
        self.full_clean()
        cleaned = self.cleaned_data
        return {
            "order": cleaned.get("order", "index"),
            "alive": ALIVE_VALUES[cleaned.get("alive", "")],
            "has_label": LABELLED_VALUES[cleaned.get("has_label", "")],
            "cluster": cleaned.get("cluster"),
            **{
                f"{name}_{end}": cleaned.get(f"{name}_{end}")
                for name in RANGED
                for end in ("min", "max")
            },
            "cursor": cleaned.get("cursor", ""),
        }


class MapForm(forms.Form):
    """What colours the features on the map of an SAE."""

    color = forms.ChoiceField(choices=COLORS, required=False)

    def chosen(self) -> str:
        """The colouring; an unknown one is by cluster."""
        return (self.cleaned_data["color"] if self.is_valid() else "") or "cluster"


class TestForm(forms.Form):
    """A text to test a feature on."""

    text = forms.CharField(
        required=False,
        strip=False,
        max_length=MAX_CHARACTERS,
        label="Test on your own text",
        widget=forms.Textarea(
            {
                "rows": 2,
                "placeholder": "Type or paste some text",
                "data-key": "t",
                "data-key-name": "Test on a text",
            }
        ),
    )


class ExamplesForm(forms.Form):
    """How wide to show examples, and whether lines break where their text does."""

    width = forms.ChoiceField(choices=WIDTHS, required=False)
    breaks = forms.ChoiceField(choices=BREAKS, required=False, label="Line breaks")

    def chosen(self) -> tuple[str, bool]:
        """Width and breaks; an unknown width is a snippet, and the page shows the form's message.

        By default lines break in full contexts only; stacked lines never do.
        """
        self.full_clean()
        width = self.cleaned_data.get("width") or "snippet"
        breaks = self.cleaned_data.get("breaks") or ("on" if width == "full" else "off")
        return width, breaks == "on" and width != "stacked"


class EmbedForm(ExamplesForm):
    """The same of an embedded heatmap, and how many of the top examples it holds."""

    examples = forms.IntegerField(required=False, min_value=1, max_value=20)

    def chosen_examples(self) -> int:
        """How many; a wrong number is five."""
        return self.cleaned_data.get("examples") or 5


class RegistryForm(forms.Form):
    """Filters of the registry of published SAEs."""

    q = forms.CharField(
        required=False,
        max_length=200,
        label="Words",
        widget=forms.TextInput({"placeholder": "gpt2 res 32k"}),
    )
    model = forms.ChoiceField(required=False)
    site = forms.ChoiceField(
        required=False,
        label="Reads",
        choices=[
            ("", "anything"),
            ("residual", "residual stream"),
            ("mlp", "MLP output"),
            ("attention", "attention"),
            ("transcoder", "MLP input (transcoders)"),
        ],
    )
    layer = forms.IntegerField(required=False, min_value=0, max_value=999)
    here = forms.BooleanField(required=False, label="only models on this instance")
    release = forms.CharField(required=False, max_length=100, widget=forms.HiddenInput)
    start = forms.IntegerField(
        required=False, min_value=0, max_value=10**6, widget=forms.HiddenInput
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = [(name, name) for name in registry_selectors.model_names()]
        field = self.fields["model"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [("", "every model"), *names]

    def arguments(self) -> tuple[registry_selectors.RegistryQuery, int]:
        """The filters, and the first row; an invalid field counts as empty."""
        self.full_clean()
        cleaned = self.cleaned_data
        arguments = {
            name: cleaned[name]
            for name in registry_selectors.RegistryQuery._fields
            if cleaned.get(name) not in (None, "")
        }
        return registry_selectors.RegistryQuery(**arguments), cleaned.get("start") or 0
