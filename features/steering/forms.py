"""The form of a steering run: one schema for the page, the API and the worker."""

from collections.abc import Mapping
from typing import Any

from django import forms

from features.formfields import NumbersField
from features.inference.text_activations import MAX_CHARACTERS
from features.models import Feature, LanguageModel
from features.params_form import ParamsForm
from features.records import MAX_STRENGTH, Intervention
from features.steering.interventions import InterventionsField

MAX_LENGTH = 512
PLACES = {
    "all": "all positions",
    "prompt": "the prompt only",
    "generated": "generated tokens only",
    "chosen": "chosen tokens of the prompt",
}
MODES = {"text": "text to continue", "chat": "a question, through the chat template"}
STRENGTHS = (0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.5, 3.0)
"""The default strengths of a sweep."""


class SteerForm(ParamsForm):
    """A prompt, the features that are changed while the model continues it, the positions, and the
    sampling.

    `rows` are the features' rows by (slug of the SAE, index), once the form is valid.
    """

    model = forms.CharField(max_length=63)
    prompt = forms.CharField(
        strip=False,
        max_length=MAX_CHARACTERS,
        widget=forms.Textarea({"rows": 5, "placeholder": "Text for the model to continue"}),
        error_messages={"required": "Enter a prompt for the model to continue."},
    )
    mode = forms.ChoiceField(
        choices=list(MODES.items()), initial="text", required=False, label="Prompt is"
    )
    features = InterventionsField()
    where = forms.ChoiceField(
        choices=list(PLACES.items()), initial="all", required=False, label="Steer"
    )
    tokens = NumbersField(whole=True, most=2000, required=False, label="Chosen tokens")
    special = forms.BooleanField(required=False, label="special tokens too")
    temperature = forms.FloatField(min_value=0, max_value=5, initial=0.5, required=False)
    top_p = forms.FloatField(
        min_value=0.01, max_value=1, initial=0.95, required=False, label="Top-p"
    )
    frequency_penalty = forms.FloatField(min_value=-2, max_value=2, initial=0.0, required=False)
    seed = forms.IntegerField(min_value=0, max_value=2**31 - 1, initial=16, required=False)
    length = forms.IntegerField(
        min_value=1, max_value=MAX_LENGTH, initial=48, required=False, label="New tokens"
    )
    strengths = NumbersField(most=8, required=False)

    empty_takes_default = True

    def __init__(self, data: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(data, **kwargs)
        self.rows: dict[tuple[str, int], Feature] = {}

    def clean_prompt(self) -> str:
        """The prompt with the CRLF that browsers send replaced by LF."""
        prompt: str = self.cleaned_data["prompt"]
        return prompt.replace("\r\n", "\n")

    def clean_model(self) -> LanguageModel | None:
        return self.find_model(self.cleaned_data["model"])

    def clean(self) -> dict[str, Any]:
        """Check that the features exist and have what their unit needs, and that a sweep adds one
        feature.
        """
        cleaned = super().clean() or {}
        if "model" in cleaned and "features" in cleaned:
            self._find_features(cleaned["model"], cleaned["features"])
        if (
            cleaned.get("where") == "chosen"
            and not cleaned.get("tokens")
            and "tokens" not in self.errors
        ):
            self.add_error(
                "tokens", "Choose tokens of the prompt by their positions, counted from 0."
            )
        if cleaned.get("strengths"):
            if len(cleaned.get("features", [])) != 1 or cleaned["features"][0].method != "add":
                self.add_error(
                    "strengths", "A sweep over strengths is of one feature that is added."
                )
            elif max(map(abs, cleaned["strengths"])) > MAX_STRENGTH:
                self.add_error(
                    "strengths", f"Strengths go from -{MAX_STRENGTH:g} to {MAX_STRENGTH:g}."
                )
        return cleaned

    def params(self) -> dict[str, Any]:
        """The cleaned values as a run stores them."""
        return {
            **self.cleaned_data,
            "model": self.cleaned_data["model"].slug,
            "features": [one.to_json() for one in self.cleaned_data["features"]],
        }

    def _find_features(self, model: LanguageModel, interventions: list[Intervention]) -> None:
        rows = Feature.objects.filter(
            sae__model=model,
            sae__slug__in={intervention.sae for intervention in interventions},
            index__in={intervention.index for intervention in interventions},
        ).select_related("sae__model", "label")
        self.rows = {(row.sae.slug, row.index): row for row in rows}
        for intervention in interventions:
            row = self.rows.get((intervention.sae, intervention.index))
            if row is None:
                self.add_error(
                    "features", f"{model} has no feature {intervention.name} with dashboards."
                )
            elif intervention.in_maxima and not row.max_activation > 0:
                self.add_error(
                    "features",
                    f"{intervention.name} never fired, so it has no maximum to measure in: add it "
                    "in residual norms.",
                )
