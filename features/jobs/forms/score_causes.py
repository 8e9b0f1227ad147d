"""The job that measures what every live feature does."""

from django import forms

from features.formfields import NumbersField
from features.jobs.forms.on_sae import OnDashboards


class ScoreCauses(OnDashboards):
    """Change every live feature and measure what the model does then."""

    kind = "score_causes"
    title = "Measure what features do"
    verb = "Measure what is done by"
    about = (
        "Ablates every live feature where it fires and adds it where it does not, compared "
        "with random directions of equal norm: the effect on the model is the feature's "
        "causal score."
    )

    because = "which say where features fire"

    corpus = None  # type: ignore[assignment]  # Django's way to remove what the class above has
    contexts = forms.IntegerField(
        min_value=2,
        max_value=32,
        initial=8,
        help_text="Texts of each kind per feature. More texts give narrower intervals and take "
        "longer.",
    )
    seed = forms.IntegerField(
        min_value=0,
        max_value=2**31 - 1,
        initial=0,
        help_text="For the random directions and the positions where features are added.",
    )

    features = NumbersField(
        whole=True,
        most=1000,
        required=False,
        help_text="Indices separated by commas. Leave it empty for all live features.",
    )
