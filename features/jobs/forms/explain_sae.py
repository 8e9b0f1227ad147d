"""The job that asks a language model for labels."""

from typing import Any

from django import forms

from features.jobs.forms.llm import FeaturesEndpointForm

EXPLAINERS = {
    "examples": "its strongest texts, marked",
    "pairs": "its strongest texts, token by token",
    "logits": "its texts, peaks and logits",
    "contrastive": "its texts, and texts that look alike",
}


class ExplainSae(FeaturesEndpointForm):
    """Have a language model write labels from half of the contexts."""

    kind = "explain_sae"
    title = "Write labels of the features"
    about = (
        "Shows examples of each feature to a language model behind an OpenAI-compatible "
        "endpoint, and asks for a label."
    )

    explainer = forms.ChoiceField(
        choices=list(EXPLAINERS.items()),
        initial="examples",
        help_text="What the language model sees.",
    )
    only_unlabelled = forms.BooleanField(
        required=False,
        initial=True,
        label="Only what has no label",
        help_text="Skip features that have a label.",
    )
    least_fires = forms.IntegerField(
        min_value=1,
        max_value=10**9,
        initial=20,
        help_text="Skip features that fired on fewer tokens.",
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not self.errors and not cleaned.get("endpoint"):
            self.add_error("endpoint", "Name the endpoint that writes the labels.")
        return cleaned
