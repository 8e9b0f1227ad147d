"""The job that measures what every live feature does."""

from django import forms

from features.kinds.sae import OnSae
from features.kinds.steering import NumbersField
from features.models import Dashboard


class ScoreCauses(OnSae):
    """Change every live feature and measure what the model does then."""

    kind = "score_causes"
    title = "Measure what features do"
    verb = "Measure what is done by"
    about = (
        "Ablates every live feature where it fires and adds it where it does not, beside random directions of equal norm:"
        " what the model does then is the feature's causal score."
    )

    corpus = None  # type: ignore[assignment]  # Django's way to leave out what the class above has
    contexts = forms.IntegerField(
        min_value=2,
        max_value=32,
        initial=8,
        help_text="Texts of each kind for each feature: more make the intervals narrower, and take longer.",
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

    def clean_sae(self) -> str:
        """The SAE must have dashboards, which say where its features fire."""
        path = super().clean_sae()
        model, _, slug = path.partition("/")
        if path not in self.promised and not Dashboard.objects.filter(sae__model__slug=model, sae__slug=slug).exists():
            raise forms.ValidationError(
                f"{path} has no dashboards yet, which say where features fire: make them first."
            )
        return path
