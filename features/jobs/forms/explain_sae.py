"""Jobs that ask a language model: for labels, and for scores of labels on held-out examples."""

from collections.abc import Mapping
from typing import Any

from django import forms

from features.formfields import Several
from features.jobs.forms.evaluate_sae import OnDashboards
from features.jobs.forms.llm import Spending

EXPLAINERS = {
    "examples": "its strongest texts, marked",
    "pairs": "its strongest texts, token by token",
    "logits": "its texts, peaks and logits",
    "contrastive": "its texts, and texts that look alike",
}
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


class Asking(Spending, OnDashboards):
    """What both share: the SAE, the endpoint, how many features, and what may be spent."""

    because = "which hold the examples"
    busy = "of this kind is at {}"
    field_order = ["sae", "endpoint", "most", "texts", "most_tokens", "most_cost", "seed"]

    corpus = None  # type: ignore[assignment]  # Django's way to leave out what the class above has
    most = forms.IntegerField(
        min_value=1,
        max_value=1_000_000,
        initial=200,
        label="Features at most",
        help_text="Those that fire most come first.",
    )
    texts = forms.IntegerField(
        min_value=4,
        max_value=40,
        initial=10,
        help_text="Texts of a feature that a prompt is made of, or that are asked about.",
    )
    seed = forms.IntegerField(
        min_value=0,
        max_value=2**31 - 1,
        initial=0,
        help_text="Deals contexts to writing labels and to scoring them.",
    )

    @classmethod
    def headline(cls, params: Mapping[str, Any]) -> str:
        """Such as: Explain the features of demo-python/2-res."""
        return f"{cls.title} of {params.get('sae')}"


class ExplainSae(Asking):
    """Have a language model write labels from half of the contexts."""

    kind = "explain_sae"
    title = "Write labels of the features"
    about = (
        "Shows examples of each feature to a language model behind an OpenAI-compatible "
        "endpoint, and asks for a label."
    )

    explainer = forms.ChoiceField(
        choices=list(EXPLAINERS.items()), initial="examples", help_text="What it is shown."
    )
    only_unlabelled = forms.BooleanField(
        required=False,
        initial=True,
        label="Only what has no label",
        help_text="Leave features out that have a label.",
    )
    least_fires = forms.IntegerField(
        min_value=1,
        max_value=10**9,
        initial=20,
        help_text="Features that fired on fewer tokens are left out.",
    )

    def clean(self) -> dict[str, Any]:
        """Somebody has to be asked."""
        cleaned = super().clean() or {}
        if not self.errors and not cleaned.get("endpoint"):
            self.add_error("endpoint", "Name the endpoint that writes the labels.")
        return cleaned


class ScoreLabels(Asking):
    """Score labels, whoever wrote them, on contexts that no label was written from."""

    kind = "score_labels"
    title = "Score the labels"
    about = (
        "Asks a model that sees only the label about held-out texts, firing and silent ones: "
        "how much does the label tell?"
    )

    scores = Several(
        forms.ChoiceField(choices=list(SCORES.items())),
        initial="detection",
        help_text="What is measured; never averaged.",
    )
    negatives = forms.ChoiceField(
        choices=list(NEGATIVES.items()),
        initial="random",
        help_text="Where texts come from in which the feature is silent.",
    )
    method = forms.CharField(
        required=False, max_length=50, initial="",
        help_text="Labels of one method (person, concept, explainer:examples …); empty: the "
"label of each feature.",
    )  # fmt: skip

    def clean(self) -> dict[str, Any]:
        """All but embeddings need somebody to ask."""
        cleaned = super().clean() or {}
        scores = cleaned.get("scores", [])
        wanted = {scores} if isinstance(scores, str) else set(scores)
        if not self.errors and wanted - {"embedding"} and not cleaned.get("endpoint"):
            self.add_error(
                "endpoint",
                f"Name an endpoint: {', '.join(sorted(wanted - {'embedding'}))} needs one.",
            )
        return cleaned
