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
        "Ablates every live feature where it fires and adds it where it does not, beside random "
        "directions of equal norm:"
        " what the model does then is the feature's causal score."
    )

    because = "which say where features fire"

    corpus = None  # type: ignore[assignment]  # Django's way to leave out what the class above has
    contexts = forms.IntegerField(
        min_value=2,
        max_value=32,
        initial=8,
        help_text="Texts of each kind for each feature: more make the intervals narrower, and "
        "take longer.",
    )
    seed = forms.IntegerField(
        min_value=0,
        max_value=2**31 - 1,
        initial=0,
        help_text="Of the random directions and of where features are added.",
    )

    features = NumbersField(
        whole=True,
        most=1000,
        required=False,
        help_text="Indices with commas between them; all live features where empty.",
    )
