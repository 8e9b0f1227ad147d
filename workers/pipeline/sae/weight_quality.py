"""What an SAE's weights alone say of its quality: do features read what they write, and are any two
of them the same?

    encoder_decoder_cosine = mean over features of cos(W_enc[:, i], W_dec[i]); _q05, _median, _q95
    its quantiles max_decoder_cosine = mean over features of the largest cosine of W_dec[i] with
    another row duplicate_share = features for which that is above `DUPLICATE`; duplicate_pairs =
    pairs of rows above it

Decoder rows of zeros have cosine 0 with all. Where encoder and decoder live in spaces of different
width, their angle means nothing and is left out; so are cosines with others where there is only one
feature.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from sae_lens import SAE
from torch import Tensor

DUPLICATE = 0.9
QUANTILES = {"q05": 0.05, "median": 0.5, "q95": 0.95}
BLOCK = 1 << 24
"""Cosines computed at once: 64 MB of float32, however wide the SAE is."""


@torch.no_grad()
def weight_quality(
    sae: SAE[Any], block: int = BLOCK, should_stop: Callable[[], bool] = lambda: False
) -> dict[str, float]:
    """The numbers above, by name; those that mean nothing for this SAE are not there.

    `should_stop` is asked before each block, as a wide SAE takes long; where it turns true, numbers
    are missing.
    """
    encoder, decoder = sae.W_enc.detach().T, sae.W_dec.detach()
    return _agreement(encoder, decoder) | _duplicates(decoder, block, should_stop)


def _agreement(
    encoder: Float[Tensor, "features d_in"], decoder: Float[Tensor, "features d_out"]
) -> dict[str, float]:
    if encoder.shape != decoder.shape:
        return {}
    cosines = torch.nn.functional.cosine_similarity(
        encoder.double(), decoder.double(), dim=-1
    ).cpu()
    at = torch.quantile(
        cosines[:: -(-len(cosines) // (1 << 20))], torch.tensor([*QUANTILES.values()]).double()
    )
    named = {
        f"encoder_decoder_cosine_{name}": value
        for name, value in zip(QUANTILES, at.tolist(), strict=True)
    }
    return {"encoder_decoder_cosine": cosines.mean().item(), **named}


def _duplicates(
    decoder: Float[Tensor, "features d_out"], block: int, should_stop: Callable[[], bool]
) -> dict[str, float]:
    if len(decoder) < 2:
        return {}
    unit = torch.nn.functional.normalize(decoder.float(), dim=1)
    largest, pairs = [], 0
    for rows in torch.arange(len(unit), device=unit.device).split(max(1, block // len(unit))):
        if should_stop():
            return {}
        similar = unit[rows] @ unit.T
        similar.scatter_(1, rows[:, None], -torch.inf)
        largest.append(similar.amax(1))
        pairs += int((similar > DUPLICATE).sum())
    most = torch.cat(largest).clamp(-1, 1)
    return {
        "max_decoder_cosine": most.double().mean().item(),
        "duplicate_share": (most > DUPLICATE).double().mean().item(),
        "duplicate_pairs": pairs // 2,
    }
