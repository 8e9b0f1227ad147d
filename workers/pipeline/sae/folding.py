"""Fold the scales that an SAE was trained with into its weights.

input scale or whitening     multiplied into encoder and decoder
decoder norms                multiplied into the encoder (and thresholds), so that rows have
                             length 1; not for a TopK that selects features without them
training SAE                 converted to its inference form (BatchTopK becomes JumpReLU)
"""

import math
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from sae_lens import SAE, TrainingSAE
from sae_lens.training.activation_scaler import ActivationScaler
from torch import Tensor

from features.records import InvalidInput
from workers.pipeline.sae.folder import SCALER


def inference_form(training_sae: TrainingSAE[Any]) -> SAE[Any]:
    """Return the inference SAE that `training_sae` is saved as. They share no memory."""
    weights = {name: tensor.detach().clone() for name, tensor in training_sae.state_dict().items()}
    training_sae.process_state_dict_for_saving_inference(weights)
    sae: SAE[Any] = SAE.from_dict(training_sae.cfg.get_inference_sae_cfg_dict())
    sae.load_state_dict(weights)
    return sae


def fold_input_scale(sae: SAE[Any], folder: Path) -> None:
    """Fold the input scale or whitening that is stored in `folder` into the weights of `sae`.

    Raises `InvalidInput("source")` if the SAE was trained with one and it is missing or invalid:
    the SAE would run on the wrong scale without an error.
    """
    mode = sae.cfg.normalize_activations
    if mode not in ("expected_average_only_in", "covariance_whitening"):
        return
    scaler = _load_scaler(folder)
    scale, whitening = scaler.scaling_factor, scaler.whitening
    if mode == "expected_average_only_in" and scale is not None:
        if not isinstance(scale, int | float) or not math.isfinite(scale) or scale <= 0:
            message = f"The input scale in {SCALER} is {scale!r}; it must be a positive number."
            raise InvalidInput("source", message)
        sae.fold_activation_norm_scaling_factor(scale)
    elif mode == "covariance_whitening" and whitening is not None:
        sae.fold_activation_whitening(whitening.mean, whitening.matrix, whitening.inverse_matrix)
    else:
        raise InvalidInput(
            "source",
            f"This is an unfolded training checkpoint ({mode}) without its {SCALER}: its input "
            "scale is unknown. Add that file, or give the final SAE.",
        )


def _load_scaler(folder: Path) -> ActivationScaler:
    scaler = ActivationScaler()
    if (folder / SCALER).is_file():
        try:
            scaler.load(folder / SCALER)
        except (ValueError, KeyError, TypeError) as error:
            message = f"{SCALER} is not in SAELens's format: {error}"
            raise InvalidInput("source", message) from error
    return scaler


def saved_decoder_norms(sae: SAE[Any]) -> Float[Tensor, " d_sae"]:
    """Return the length of each decoder row as the SAE was saved, in the model's units.

    `fold_decoder_norms` scales the rows to length 1.
    """
    if hasattr(sae, "saved_decoder_norms"):
        return sae.saved_decoder_norms
    return sae.W_dec.detach().float().norm(dim=1)


def fold_decoder_norms(sae: SAE[Any]) -> None:
    """Scale decoder rows to length 1 and the encoder to match; keeps `saved_decoder_norms`.

    A TopK SAE that was trained without decoder norms is left as it is, since folding would change
    which features it selects.
    """
    sae.register_buffer("saved_decoder_norms", saved_decoder_norms(sae), persistent=False)
    try:
        sae.fold_W_dec_norm()
    except NotImplementedError:  # such a TopK
        return
    if getattr(sae.cfg, "rescale_acts_by_decoder_norm", False):
        sae.cfg.rescale_acts_by_decoder_norm = False


def require_finite(sae: SAE[Any], file_name: str) -> None:
    """Raise `InvalidInput("source")` if a weight is NaN or infinite."""
    for name, tensor in sae.state_dict().items():
        # Minimum and maximum are NaN if any value is. `isfinite` of the whole tensor would allocate
        # a copy of weights that may take half of the memory.
        if not torch.isfinite(torch.stack(tensor.aminmax())).all():
            raise InvalidInput(
                "source", f"Tensor {name} in {file_name} has NaN or infinite values."
            )
