"""Geometry of an SAE's weights: nearest features, and the angle of encoder and decoder."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

BLOCK = 1 << 24
"""Cosines computed at once: 64 MB of float32, for any width of the SAE."""
ROWS = 256
TINY = 1e-12


def nearest_features(
    decoder: Float[Tensor, "features d_out"], count: int, start: int, stop: int, block: int = BLOCK
) -> tuple[Int64[Tensor, "stop-start near"], Float[Tensor, "stop-start near"]]:
    """Return the `count` others with the highest cosine of decoder directions, and these cosines,
    for features [start, stop).

    There are fewer than `count` if the SAE has no more features. A decoder row of zeros has cosine
    0 with all others.
    """
    norms = decoder.norm(dim=1, dtype=torch.float32).clamp(min=TINY)
    count, height = min(count, len(decoder) - 1), min(ROWS, block)
    blocks = [
        _nearest_of_rows(decoder, norms, rows, count, max(1, block // height))
        for rows in torch.arange(start, stop, device=norms.device).split(height)
    ]
    cosines, indices = (torch.cat(parts) for parts in zip(*blocks, strict=True))
    return indices, cosines.clamp(-1, 1)


def _nearest_of_rows(
    decoder: Tensor, norms: Tensor, rows: Tensor, count: int, width: int
) -> tuple[Tensor, Tensor]:
    """Return cosines and indices [rows, count], computed in blocks of `width` columns."""
    unit = decoder[rows].float() / norms[rows, None]
    best, indices = unit.new_zeros(len(rows), 0), rows.new_zeros(len(rows), 0)
    for columns in torch.arange(len(decoder), device=rows.device).split(width):
        block = slice(int(columns[0]), int(columns[-1]) + 1)
        cosines = (unit @ decoder[block].float().T) / norms[block]
        cosines.masked_fill_(columns == rows[:, None], -torch.inf)
        top = cosines.topk(min(count, len(columns)))
        best = torch.cat([best, top.values], 1)
        indices = torch.cat([indices, columns[top.indices]], 1)
        best, order = best.topk(min(count, best.shape[1]))
        indices = indices.gather(1, order)
    return best, indices


def encoder_decoder_cosine(
    encoder: Float[Tensor, "d_in features"], decoder: Float[Tensor, "features d_out"]
) -> Float[Tensor, " features"]:
    """Return the cosine of each feature's encoder and decoder directions.

    Zero if the two spaces have different widths, as in some transcoders.
    """
    if encoder.shape[0] != decoder.shape[1]:
        return torch.zeros(len(decoder), device=decoder.device)
    return torch.nn.functional.cosine_similarity(encoder.T.float(), decoder.float(), dim=1)
