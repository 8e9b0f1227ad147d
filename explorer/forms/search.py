"""Query strings of the search page, as forms: a wrong value gets a message at its field."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.http import QueryDict

from explorer.forms.fields import ShareField
from features.inference.text_activations import MAX_CHARACTERS, MAX_SAES
from features.models import Sae
from features.selectors.text_search import TextSearchOptions

NAMED = 20
"""SAEs or models that an error message lists."""
ONE = [
    ("sum", "sum over tokens"),
    ("max", "maximum on tokens"),
    ("difference", "chosen less the rest"),
]
TWO = [("difference", "difference of means"), ("max", "difference of maxima")]
SCALES = [("", "activation"), ("own", "share of maximum")]
DENSITIES = [("0.1%", "up to 0.1%"), ("1%", "up to 1%"), ("10%", "up to 10%"), ("100%", "any")]
DENSITY, DENSITY_MAX = "1%", 0.01
"""The default limit: denser features fire on almost everything, and would come first everywhere."""


class PositionsField(forms.Field):
    """Positions of tokens: 3,4,7, or the parameter several times."""

    widget = forms.MultipleHiddenInput

    def to_python(self, value: Any) -> list[int]:
        """The positions in order, each once."""
        parts = [part.strip() for item in value or [] for part in str(item).split(",")]
        if any(
            part and not (part.isascii() and part.isdigit() and len(part) < 7) for part in parts
        ):
            raise forms.ValidationError("Write positions of tokens, counted from 0, such as 3,4,7.")
        return sorted({int(part) for part in parts if part})


class ScopeForm(forms.Form):
    """The SAEs to search: the chosen ones, else all of the model, or its first `most`."""

    most: int | None = None
    every_model = False
    """Whether no model means all of them, rather than the first."""
    model = forms.ChoiceField(required=False)
    sae = forms.MultipleChoiceField(
        required=False, label="SAEs", widget=forms.CheckboxSelectMultiple
    )

    def __init__(self, data: QueryDict, searchable: Sequence[Sae]) -> None:
        super().__init__(data)
        models = list(dict.fromkeys(sae.model.slug for sae in searchable))
        self.chosen_model = data.get("model", "") or (
            "" if self.every_model else next(iter(models), "")
        )
        self.offered_saes = [
            sae
            for sae in searchable
            if sae.model.slug == self.chosen_model or not self.chosen_model
        ]
        self._offer(
            "model", models, "There is no model “%(value)s” with dashboards.", self.every_model
        )
        self._offer(
            "sae",
            [sae.slug for sae in self.offered_saes],
            "There is no SAE “%(value)s” of this model with dashboards.",
        )

    def _offer(self, name: str, slugs: Sequence[str], refusal: str, or_every: bool = False) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [
            *([("", f"every {name}")] if or_every else []),
            *((slug, slug) for slug in slugs),
        ]
        field.error_messages["invalid_choice"] = (
            f"{refusal} Known: {', '.join(slugs[:NAMED]) or 'none yet'}."
        )

    def clean_sae(self) -> list[str]:
        """Refuse more SAEs than a search reads at once."""
        slugs: list[str] = self.cleaned_data["sae"]
        if self.most and len(slugs) > self.most:
            raise forms.ValidationError(
                f"{len(slugs)} SAEs are selected; at most {self.most} can be searched at once."
            )
        return slugs

    def saes(self) -> list[Sae]:
        """The SAEs to search; an invalid choice counts as none."""
        self.full_clean()
        ticked = self.cleaned_data.get("sae") or [sae.slug for sae in self.offered_saes]
        return [sae for sae in self.offered_saes if sae.slug in ticked][: self.most]


def _text(label: str, placeholder: str, **attributes: str) -> forms.CharField:
    widget = forms.Textarea({"rows": 4, "placeholder": placeholder, **attributes})
    return forms.CharField(
        required=False, strip=False, max_length=MAX_CHARACTERS, label=label, widget=widget
    )


class RankingForm(forms.Form):
    """The chosen tokens, and how to rank the features that fire on them."""

    by = forms.ChoiceField(required=False, label="Rank by", choices=ONE)
    scale = forms.ChoiceField(required=False, label="Measured as", choices=SCALES)
    density_max = ShareField(required=False, label="Density", widget=forms.Select)
    tokens = PositionsField(required=False)
    feature = forms.CharField(required=False, max_length=100)

    def offer_densities(self) -> None:
        """Offer the usual limits, and the one in the query string."""
        limit = self.data["density_max"]
        own = [] if limit in dict(DENSITIES) else [(limit, limit)]
        self.fields["density_max"].widget.choices = [*DENSITIES, *own]

    def options(self) -> TextSearchOptions:
        """How to search; an invalid field counts as empty."""
        cleaned = self.cleaned_data
        limit = cleaned.get("density_max")
        return TextSearchOptions(
            by=cleaned.get("by") or "sum",
            chosen=cleaned.get("tokens") or [],
            density_max=DENSITY_MAX if limit is None else limit,
            scaled=cleaned.get("scale") == "own",
            shown=cleaned.get("feature") or "",
        )


class TextForm(RankingForm, ScopeForm):
    """One text or two, and how to rank the features that fire on their tokens."""

    most = MAX_SAES
    text = _text(
        "Text", "Type or paste some text", **{"data-key": "/", "data-key-name": "Search by text"}
    )
    text2 = _text("Second text", "What to tell it apart from")

    def __init__(self, data: QueryDict, searchable: Sequence[Sae]) -> None:
        data = data.copy()
        self.two = "text2" in data
        data["density_max"] = data.get("density_max") or DENSITY
        if self.two and data.get("by") != "max":
            data["by"] = "difference"
        super().__init__(data, searchable)
        self.fields["by"].widget.choices = TWO if self.two else ONE
        self.offer_densities()


class ContextForm(RankingForm):
    """How to rank the features that fire on a context, by default without a limit of density."""

    def __init__(self, data: QueryDict) -> None:
        data = data.copy()
        data["density_max"] = data.get("density_max") or "100%"
        super().__init__(data)
        self.offer_densities()


class TokenForm(ScopeForm):
    """A token, as the user writes it."""

    token = forms.CharField(
        required=False,
        strip=False,
        max_length=200,
        label="Token",
        widget=forms.TextInput(
            {
                "type": "search",
                "placeholder": "self",
                "autocomplete": "off",
                "data-key": "/",
                "data-key-name": "Search by token",
            }
        ),
    )
