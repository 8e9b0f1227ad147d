"""From a batch's activations to its firings: the counted tokens are encoded, and what is positive
is kept, in order.

Encoders that look at each feature alone (ReLU, JumpReLU, gated, and transcoders of these) read a
wide SAE in tiles of features, so that neither the weights in use nor the dense activations outgrow
the processor's caches or the memory, however wide it is. TopK and its like choose among all
features of a token and are given all of them.
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
from workers.pipeline.dashboards.accumulator import Batch, Firings
from workers.pipeline.dashboards.sorting import positive, stable_argsort

ENCODE_BLOCK = 1 << 23
"""Dense activations at once: 32 MB of float32, however wide the SAE is."""

TILE = 1 << 14
"""Features encoded at once, where the encoder looks at each alone."""

ALONE = (
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
"""Which dimension of a parameter counts features; the others have none."""


@torch.no_grad()
def firings(sae: SAE[Any], activations: Float[Tensor, "batch pos d_in"], batch: Batch) -> Firings:
    """Encode the counted tokens of a batch; return the positive activations in order of (feature,
    row, position).
    """
    row, position = batch.counted.nonzero(as_tuple=True)
    read = activations[row, position].to(sae.W_dec.dtype)
    if not torch.isfinite(read).all():
        raise InvalidInput(
            "model", "The model's activations are not finite. Run it in float32 or bfloat16."
        )
    tiles = [_positive(part, read, first) for first, part in tiled(sae)]
    feature, token, value = (torch.cat(column) for column in zip(*tiles, strict=True))
    return Firings(feature, row[token], position[token], value)


def tiled(sae: SAE[Any], width: int | None = None) -> Iterator[tuple[int, SAE[Any]]]:
    """Yield the first feature and the SAE of each tile of `width` features (or `TILE`); of all
    where they depend on others.
    """
    width = width or TILE
    if type(sae) not in ALONE or sae.cfg.d_sae <= width:
        yield 0, sae
        return
    for start in range(0, sae.cfg.d_sae, width):
        yield start, tile(sae, start, min(start + width, sae.cfg.d_sae))


def tile(sae: SAE[Any], start: int, stop: int) -> SAE[Any]:
    """The same SAE with features [start, stop) alone; it shares memory and hook points
    with `sae`.
    """
    part = copy.copy(sae)
    part.cfg = copy.copy(sae.cfg)
    part.cfg.d_sae = stop - start
    part.__dict__["_parameters"] = {
        name: _cut(name, tensor, start, stop)
        for name, tensor in sae.named_parameters(recurse=False)
    }
    part.__dict__["_buffers"] = {
        name: _cut(name, tensor, start, stop) for name, tensor in sae.named_buffers(recurse=False)
    }
    return part


def _cut(name: str, tensor: Tensor, start: int, stop: int) -> Tensor:
    axis = FEATURE_AXIS.get(name)
    if axis is None:
        return tensor
    cut = tensor.detach().narrow(axis, start, stop - start)
    return nn.Parameter(cut, requires_grad=False) if isinstance(tensor, nn.Parameter) else cut


def _positive(
    sae: SAE[Any], read: Float[Tensor, "tokens d_in"], first: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Feature (counted from `first`), place in `read` and activation of each firing [n], in this
    order.
    """
    width = sae.cfg.d_sae
    token, feature, value = [], [], []
    size = max(1, ENCODE_BLOCK // width)
    for start in range(
        0, max(1, len(read)), size
    ):  # once at least, so that there is something to join
        dense = sae.encode(read[start : start + size])
        place = positive(dense)
        token.append(place // width + start)
        feature.append(place % width)
        value.append(dense.flatten()[place].float())
    tokens, features, values = torch.cat(token), torch.cat(feature), torch.cat(value)
    order = stable_argsort(features)
    return features[order] + first, tokens[order], values[order]
