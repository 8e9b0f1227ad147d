"""From a batch's activations to its firings: the counted tokens are encoded, and what is positive is kept, in order."""

import torch
from jaxtyping import Float
from sae_lens import SAE
from torch import Tensor

from workers.pipeline.errors import BadInput
from workers.pipeline.ordering import positive, stable_argsort
from workers.pipeline.tally import Batch, Firings

ENCODE_BLOCK = 1 << 23
"""Dense activations at once: 32 MB of float32, however wide the SAE is."""


@torch.no_grad()
def firings(sae: SAE, activations: Float[Tensor, "batch pos d_in"], batch: Batch) -> Firings:
    """Encode the counted tokens of a batch; return the positive activations in order of (feature, row, position)."""
    row, position = batch.counted.nonzero(as_tuple=True)
    read = activations[row, position].to(sae.W_dec.dtype)
    if not torch.isfinite(read).all():
        raise BadInput("model", "The model's activations are not finite. Run it in float32 or bfloat16.")
    token, feature, value = [], [], []
    size = max(1, ENCODE_BLOCK // sae.cfg.d_sae)
    for start in range(0, len(read), size):
        dense = sae.encode(read[start : start + size])
        place = positive(dense)
        token.append(place // sae.cfg.d_sae + start)
        feature.append(place % sae.cfg.d_sae)
        value.append(dense.flatten()[place].float())
    if not token:
        return Firings(row, row, row, row.float())
    at, features, values = torch.cat(token), torch.cat(feature), torch.cat(value)
    order = stable_argsort(features)
    return Firings(features[order], row[at][order], position[at][order], values[order])
