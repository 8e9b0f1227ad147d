"""Encode the counted tokens of a batch with an SAE: the activations that are not 0, in order.

Encoders that treat each feature independently (ReLU, JumpReLU, gated, and transcoders of these) run
a wide SAE in tiles of features, so that neither the weights in use nor the dense activations exceed
the CPU's caches or the memory. TopK and its variants select among all features of a token, so they
are encoded whole.
"""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from sae_lens import (
    SAE,
    GatedSAE,
    JumpReLUSAE,
    JumpReLUSkipTranscoder,
    JumpReLUTranscoder,
    SkipTranscoder,
    StandardSAE,
    Transcoder,
)
from torch import Tensor, nn

from features.records import InvalidInput
from workers.pipeline.dashboards.batch import Batch, SparseActivations
from workers.pipeline.dashboards.sorting import nonzero_indices, stable_argsort

ENCODE_BLOCK = 1 << 23
"""Dense activations computed at once: 32 MB of float32, for any width of the SAE."""

TILE = 1 << 14
"""Features encoded at once, if the encoder treats each independently."""

PER_FEATURE_ENCODERS = (
    StandardSAE,
    JumpReLUSAE,
    GatedSAE,
    Transcoder,
    SkipTranscoder,
    JumpReLUTranscoder,
    JumpReLUSkipTranscoder,
)
FEATURE_AXIS = {
    "W_enc": 1,
    "W_dec": 0,
    "b_enc": 0,
    "b_gate": 0,
    "b_mag": 0,
    "r_mag": 0,
    "threshold": 0,
}
"""The dimension of each parameter that counts features; other parameters have none."""


@torch.no_grad()
def sparse_activations(
    sae: SAE[Any], activations: Float[Tensor, "batch pos d_in"], batch: Batch
) -> SparseActivations:
    """Return the activations that are not 0 on the counted tokens of a batch.

    Raises `InvalidInput("model")` if the model's activations are not finite.
    """
    row, position = batch.counted.nonzero(as_tuple=True)
    inputs = activations[row, position].to(sae.W_dec.dtype)
    if not torch.isfinite(inputs).all():
        raise InvalidInput(
            "model", "The model's activations are not finite. Run it in float32 or bfloat16."
        )
    columns = [_encode_tile(part, inputs, first) for first, part in tiles(sae)]
    feature, token, value = (torch.cat(column) for column in zip(*columns, strict=True))
    return SparseActivations(feature, row[token], position[token], value)


def tiles(sae: SAE[Any], width: int | None = None) -> Iterator[tuple[int, SAE[Any]]]:
    """Yield the first feature and the SAE of each tile of `width` features (default `TILE`).

    There is one tile, the SAE itself, if its features depend on one another.
    """
    width = width or TILE
    if type(sae) not in PER_FEATURE_ENCODERS or sae.cfg.d_sae <= width:
        yield 0, sae
        return
    for start in range(0, sae.cfg.d_sae, width):
        yield start, tile(sae, start, min(start + width, sae.cfg.d_sae))


def tile(sae: SAE[Any], start: int, stop: int) -> SAE[Any]:
    """Return an SAE of features [start, stop) that shares memory and hook points with `sae`."""
    part = copy.copy(sae)
    part.cfg = copy.copy(sae.cfg)
    part.cfg.d_sae = stop - start
    part.__dict__["_parameters"] = {
        name: _narrow(name, tensor, start, stop)
        for name, tensor in sae.named_parameters(recurse=False)
    }
    part.__dict__["_buffers"] = {
        name: _narrow(name, tensor, start, stop)
        for name, tensor in sae.named_buffers(recurse=False)
    }
    return part


def _narrow(name: str, tensor: Tensor, start: int, stop: int) -> Tensor:
    axis = FEATURE_AXIS.get(name)
    if axis is None:
        return tensor
    part = tensor.detach().narrow(axis, start, stop - start)
    return nn.Parameter(part, requires_grad=False) if isinstance(tensor, nn.Parameter) else part


def _encode_tile(
    sae: SAE[Any], inputs: Float[Tensor, "tokens d_in"], first: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the feature (counted from `first`), the token and the value of each activation
    that is not 0 [n], ordered by feature, then token.
    """
    width = sae.cfg.d_sae
    tokens, features, values = [], [], []
    size = max(1, ENCODE_BLOCK // width)
    for start in range(0, max(1, len(inputs)), size):  # at least once, for the sake of torch.cat
        dense = sae.encode(inputs[start : start + size])
        indices = nonzero_indices(dense)
        tokens.append(indices // width + start)
        features.append(indices % width)
        values.append(dense.flatten()[indices].float())
    token, feature, value = torch.cat(tokens), torch.cat(features), torch.cat(values)
    order = stable_argsort(feature)
    return feature[order] + first, token[order], value[order]
