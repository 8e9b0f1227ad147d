"""The next token of each row of a batch. Rows share their chance, so that texts differ only where
their models do.

With z the logits, c how often each token was generated before in the row, f the frequency penalty
and t the temperature:

    z' = (z - f c) / t        of their softmax, the most probable tokens that together reach top_p
    are kept, at least one

and the token is argmax(z' + g), g Gumbel noise that follows from the seed and the step alone: a
draw from that softmax, and the same draw in every row. At temperature 0 it is argmax(z - f c).
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from workers.pipeline.errors import BadInput


class Sampling(NamedTuple):
    """How tokens are drawn, and how many at most."""

    length: int = 64
    temperature: float = 0.0
    top_p: float = 1.0
    frequency_penalty: float = 0.0
    seed: int = 0


class Sampler:
    """Draws the tokens of `rows` texts, step after step."""

    def __init__(
        self, sampling: Sampling, rows: int, vocabulary: int, device: torch.device
    ) -> None:
        self.sampling = sampling
        self._chance = torch.Generator().manual_seed(
            sampling.seed
        )  # on the CPU: the same numbers on every device
        counting = sampling.frequency_penalty != 0
        self._counts = torch.zeros(rows, vocabulary, device=device) if counting else None

    def draw(self, logits: Float[Tensor, "rows vocabulary"]) -> Int64[Tensor, " rows"]:
        """The next token of every row. `BadInput("strength")` where the model broke down and gives
        no numbers.
        """
        if not logits.sum().isfinite():  # each by itself takes ten times as long
            raise BadInput(
                "strength",
                "The steered model gives no finite numbers any more: choose a smaller strength.",
            )
        wanted, of = logits, self.sampling
        if self._counts is not None:
            wanted = wanted - of.frequency_penalty * self._counts
        if of.temperature > 0:
            wanted = _nucleus(wanted / of.temperature, of.top_p)
            wanted = wanted + self._noise(logits.shape[1]).to(wanted)
        chosen = wanted.argmax(-1)
        if self._counts is not None:
            self._counts.scatter_add_(1, chosen[:, None], torch.ones_like(self._counts[:, :1]))
        return chosen

    def _noise(self, vocabulary: int) -> Float[Tensor, " vocabulary"]:
        return -torch.empty(vocabulary).exponential_(generator=self._chance).log()


def _nucleus(
    logits: Float[Tensor, "rows vocabulary"], top_p: float
) -> Float[Tensor, "rows vocabulary"]:
    if top_p >= 1:
        return logits
    ordered, place = logits.sort(descending=True, dim=-1)
    shares = ordered.softmax(-1)
    dropped = shares.cumsum(-1) - shares >= top_p  # what lies before a token is enough without it
    dropped[:, 0] = False
    return logits.masked_fill(torch.zeros_like(dropped).scatter(1, place, dropped), -torch.inf)
