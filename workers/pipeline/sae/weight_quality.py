"""The quality of an SAE as far as its weights show it: whether features read the direction
that they write, and whether some are duplicates.

    encoder_decoder_cosine    mean over features of cos(W_enc[:, i], W_dec[i]); with the suffixes
                              _q05, _median and _q95 its quantiles
    max_decoder_cosine        mean over features of the largest cosine of W_dec[i] with another row
    duplicate_share           share of features for which that is above DUPLICATE_COSINE
    duplicate_pairs           number of pairs of rows with a cosine above it

A decoder row of zeros has cosine 0 with every other. Numbers without a meaning are left out: the
first if encoder and decoder have different widths (transcoders), the others if there is only one
feature.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from sae_lens import SAE
from torch import Tensor

DUPLICATE_COSINE = 0.9
QUANTILES = {"q05": 0.05, "median": 0.5, "q95": 0.95}
MAX_QUANTILE_SAMPLE = 1 << 20
BLOCK_COSINES = 1 << 24
"""Cosines computed at once: 64 MB of float32, however wide the SAE is."""


@torch.no_grad()
def weight_quality(
    sae: SAE[Any], block: int = BLOCK_COSINES, should_stop: Callable[[], bool] = lambda: False
) -> dict[str, float]:
    """Return the numbers above, by name.

    `block` is the number of cosines computed at once. `should_stop` is called before each block,
    since a wide SAE takes long; if it returns true, the numbers about duplicates are left out.
    """
    encoder, decoder = sae.W_enc.detach().T, sae.W_dec.detach()
    return _encoder_decoder_cosine(encoder, decoder) | _duplicates(decoder, block, should_stop)


def _encoder_decoder_cosine(
    encoder: Float[Tensor, "features d_in"], decoder: Float[Tensor, "features d_out"]
) -> dict[str, float]:
    if encoder.shape != decoder.shape:
        return {}
    cosines = torch.nn.functional.cosine_similarity(encoder.double(), decoder.double(), dim=-1)
    cosines = cosines.cpu()
    stride = -(-len(cosines) // MAX_QUANTILE_SAMPLE)  # torch.quantile takes no larger tensors
    shares = torch.tensor([*QUANTILES.values()]).double()
    quantiles = torch.quantile(cosines[::stride], shares).tolist()
    named = {
        f"encoder_decoder_cosine_{name}": value
        for name, value in zip(QUANTILES, quantiles, strict=True)
    }
    return {"encoder_decoder_cosine": cosines.mean().item(), **named}


def _duplicates(
    decoder: Float[Tensor, "features d_out"], block: int, should_stop: Callable[[], bool]
) -> dict[str, float]:
    features = len(decoder)
    if features < 2:
        return {}
    unit = torch.nn.functional.normalize(decoder.float(), dim=1)
    largest, ordered_pairs = [], 0
    for rows in torch.arange(features, device=unit.device).split(max(1, block // features)):
        if should_stop():
            return {}
        cosines = unit[rows] @ unit.T
        cosines.scatter_(1, rows[:, None], -torch.inf)
        largest.append(cosines.amax(1))
        ordered_pairs += int((cosines > DUPLICATE_COSINE).sum())
    max_cosines = torch.cat(largest).clamp(-1, 1)
    return {
        "max_decoder_cosine": max_cosines.double().mean().item(),
        "duplicate_share": (max_cosines > DUPLICATE_COSINE).double().mean().item(),
        "duplicate_pairs": ordered_pairs // 2,
    }
