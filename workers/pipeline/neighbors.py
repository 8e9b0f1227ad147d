"""Geometry of an SAE's weights that needs no corpus: nearest features, norms, and how encoder and decoder agree."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

BLOCK = 1 << 24
"""Cosines computed at once: 64 MB of float32, however wide the SAE is."""


def nearest(
    decoder: Float[Tensor, "features d_out"], count: int, start: int, stop: int, block: int = BLOCK
) -> tuple[Int64[Tensor, "stop-start near"], Float[Tensor, "stop-start near"]]:
    """For features [start, stop): the `count` others with the highest cosine of decoder directions, and these cosines.

    Fewer than `count` come back where the SAE has no more features. A decoder row of zeros has cosine 0 with all.
    """
    unit = torch.nn.functional.normalize(decoder.float(), dim=1)
    count = min(count, len(unit) - 1)
    found = []
    for rows in torch.arange(start, stop, device=unit.device).split(max(1, block // len(unit))):
        similar = unit[rows] @ unit.T
        similar.scatter_(1, rows[:, None], -torch.inf)
        found.append(similar.topk(count))
    cosines, indices = (torch.cat(parts) for parts in zip(*found, strict=True))
    return indices, cosines.clamp(-1, 1)


def encoder_decoder_cosine(
    encoder: Float[Tensor, "d_in features"], decoder: Float[Tensor, "features d_out"]
) -> Float[Tensor, " features"]:
    """Cosine between each feature's encoder and decoder directions.

    Zero where they live in spaces of different width (some transcoders), in which the angle means nothing.
    """
    if encoder.shape[0] != decoder.shape[1]:
        return torch.zeros(len(decoder), device=decoder.device)
    return torch.nn.functional.cosine_similarity(encoder.T.float(), decoder.float(), dim=1)
