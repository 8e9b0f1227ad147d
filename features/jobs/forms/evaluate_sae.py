"""The job that measures an SAE on text that it was not trained on."""

from django import forms

from features.jobs.forms.base import Shape
from features.jobs.forms.on_sae import (
    AS_TRAINED,
    OnSae,
    first_positions_field,
    norm_ratio_field,
)


class EvaluateSae(OnSae):
    """Measure an SAE on text that it was not trained on."""

    kind = "evaluate_sae"
    title = "Evaluate an SAE"
    verb = "Evaluate"
    assumed_speed = 4e10
    about = (
        "Measures sparsity, explained variance and the model's loss with the reconstruction "
        "spliced in, on held-out text."
    )

    tokens = forms.IntegerField(
        min_value=1_000,
        max_value=10**9,
        initial=50_000,
        help_text="Held-out tokens to measure on; special tokens are not counted.",
    )
    norm_ratio = norm_ratio_field(None, AS_TRAINED)
    first_positions = first_positions_field(None, AS_TRAINED)

    @classmethod
    def operations(cls, shape: Shape) -> float:
        """Of the model as it is, with the reconstruction, and with zeros at the hook."""
        return 3 * shape.forward + 4 * shape.weights
