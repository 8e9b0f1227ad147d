"""Interventions on features, and the formula of each method.

With y the activation at the hook that the SAE writes to, a the feature's activation there, d its
decoder row, m its largest absolute activation on the tokens of the dashboard and s the strength:

    add, unit "maximum"    y + s m d
    add, unit "norm"       y + s |y| d / |d|
    clamp                  y + (s m - a) d
    scale                  y + (s - 1) a d
    ablate                 y - a d
    project                y - D D^+ y, with D the directions of all features to project out

Only the feature's own contribution changes. The part of y that the SAE does not explain and the
contributions of other features stay as they are, so ablating a feature whose activation is 0
changes nothing, to the bit.

d has length 1 once an SAE is loaded, except for some TopK SAEs. An SAE that normalises each token
(`layer_norm`, `constant_norm_rescale`) decodes in units of that token, so d is multiplied by the
token's own scale. `steered_forward.py` applies interventions to a forward pass.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from features.records import (
    MAX_INTERVENTIONS,
    MAX_STRENGTH,
    InterventionMethod,
    InvalidInput,
    StrengthUnit,
    in_maxima,
)
from workers.pipeline.dashboards.encoding import PER_FEATURE_ENCODERS, tile
from workers.pipeline.model.counted_tokens import outlier_tokens
from workers.pipeline.model.language import Language
from workers.pipeline.sae.reconstruct import uses_centred_activations
from workers.pipeline.steering.text_activations import Lens


class FeatureIntervention(NamedTuple):
    """An `Intervention` whose SAE is loaded: the settings, with `lens` in place of the SAE's slug.

    `maximum` is the feature's largest activation, the unit of `strength` for add and clamp.
    `direction` [d_out], if given, replaces the decoder row but keeps the row's length: a control.
    """

    lens: Lens
    index: int  # type: ignore[assignment]  # tuple has a method of that name, unused here
    method: InterventionMethod = "add"
    strength: float = 1.0
    unit: StrengthUnit = "maximum"
    maximum: float = 0.0
    direction: Tensor | None = None


def validate_interventions(interventions: Sequence[FeatureIntervention]) -> None:
    """Raise `InvalidInput`, named by field, if these interventions cannot be applied together."""
    if not 0 < len(interventions) <= MAX_INTERVENTIONS:
        raise InvalidInput(
            "features",
            f"Steer with 1 to {MAX_INTERVENTIONS} features; these are {len(interventions)}.",
        )
    for intervention in interventions:
        _validate(intervention)


def _validate(intervention: FeatureIntervention) -> None:
    index, strength = intervention.index, intervention.strength
    width = intervention.lens.sae.cfg.d_sae
    if not 0 <= index < width:
        raise InvalidInput(
            "index", f"There is no feature {index:,}: this SAE has 0 to {width - 1:,}."
        )
    if not math.isfinite(strength) or abs(strength) > MAX_STRENGTH:
        raise InvalidInput(
            "strength",
            f"A strength is a number from -{MAX_STRENGTH:g} to {MAX_STRENGTH:g}, not {strength:g}.",
        )
    if in_maxima(intervention.method, intervention.unit) and not intervention.maximum > 0:
        raise InvalidInput(
            "unit",
            f"Feature {index:,} has no maximum to measure in: it never fired. Add it in "
            "residual norms.",
        )


def direction_of(intervention: FeatureIntervention) -> Float[Tensor, " d_out"]:
    """Return the vector that is added to the hook per unit of activation."""
    row = intervention.lens.sae.W_dec[intervention.index].detach().float()
    if intervention.direction is None:
        return row
    direction = intervention.direction
    return direction.to(row) / direction.norm().to(row) * row.norm()


def encode_features(
    lens: Lens, indices: Sequence[int], x: Float[Tensor, "tokens d_in"], language: Language
) -> tuple[Float[Tensor, "tokens features"], Float[Tensor, "tokens 1"] | float]:
    """Return the activations of some features on `x`, and the scale of each token.

    Outliers have no activations, as in dashboards (`model.counted_tokens`). The scale is the factor
    by which the SAE's decoder multiplies its output for a token, 1.0 unless the SAE normalises its
    input.
    """
    sae = lens.sae
    x = x.to(sae.W_dec.device, sae.W_dec.dtype)
    outliers = outlier_tokens(x, lens.rule)
    if uses_centred_activations(sae, language.model, lens.hook):
        x = x - x.mean(-1, keepdim=True)
    if type(sae) in PER_FEATURE_ENCODERS:
        codes = torch.cat([tile(sae, index, index + 1).encode(x) for index in indices], 1)
    else:
        codes = sae.encode(x)[:, list(indices)]
    scale: Tensor | float = 1.0
    match getattr(sae.cfg, "normalize_activations", "none"):
        case "layer_norm":
            scale = sae.ln_std
        case "constant_norm_rescale":
            scale = 1 / sae.x_norm_coeff
    return codes.float().masked_fill(outliers[:, None], 0.0), scale
