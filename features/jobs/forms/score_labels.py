"""The job that asks a language model about held-out texts, to score labels."""

from typing import Any

from django import forms

from features.formfields import ListField
from features.jobs.forms.llm import FeaturesEndpointForm

SCORES = {
    "detection": "detection: which texts does it fire in?",
    "fuzzing": "fuzzing: are the marked tokens right?",
    "simulation": "simulation: how active on each token?",
    "intruder": "intruder: which text does not belong?",
    "embedding": "embedding: is the label near the texts? Needs no endpoint",
}
NEGATIVES = {
    "random": "drawn from the corpus",
    "hard": "of the nearest features, or with the same peak token",
}


class ScoreLabels(FeaturesEndpointForm):
    """Score labels on contexts that no label was written from."""

    kind = "score_labels"
    title = "Score the labels"
    about = (
        "Asks a model that sees only the label about held-out texts, firing and silent ones: "
        "how well does the label predict them?"
    )

    scores = ListField(
        forms.ChoiceField(choices=list(SCORES.items())),
        initial="detection",
        help_text="How labels are tested. Different kinds are never averaged.",
    )
    negatives = forms.ChoiceField(
        choices=list(NEGATIVES.items()),
        initial="random",
        help_text="Where texts without the feature come from.",
    )
    method = forms.CharField(
        required=False, max_length=50, initial="",
        help_text="Labels of one method (person, concept, explainer:examples …); empty: the "
"label of each feature.",
    )  # fmt: skip

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        scores = cleaned.get("scores", [])
        wanted = {scores} if isinstance(scores, str) else set(scores)
        if not self.errors and wanted - {"embedding"} and not cleaned.get("endpoint"):
            self.add_error(
                "endpoint",
                f"Name an endpoint: {', '.join(sorted(wanted - {'embedding'}))} needs one.",
            )
        return cleaned
