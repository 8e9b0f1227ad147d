"""Sample the next token of each row of a batch, with the same random numbers in every row.

With z the logits, c how often each token was generated in the row so far, f the frequency penalty
and t the temperature:

    z' = (z - f c) / t, restricted to the nucleus: the fewest most probable tokens whose
         probabilities reach top_p together

The sampled token is argmax(z' + g), where g is Gumbel noise that depends on the seed and the step
only (the Gumbel-max trick). Rows with equal logits therefore get equal tokens, and texts differ
only where their models do. At temperature 0 the token is argmax(z - f c).
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from features.records import InvalidInput


class Sampling(NamedTuple):
    """How tokens are sampled, and how many at most (`length`)."""

    length: int = 64
    temperature: float = 0.0
    top_p: float = 1.0
    frequency_penalty: float = 0.0
    seed: int = 0


class Sampler:
    """Samples the tokens of `rows` texts, one step after another."""

    def __init__(
        self, sampling: Sampling, rows: int, vocabulary: int, device: torch.device
    ) -> None:
        self.sampling = sampling
        # On the CPU, so that every device gets the same numbers.
        self._generator = torch.Generator().manual_seed(sampling.seed)
        penalised = sampling.frequency_penalty != 0
        self._counts = torch.zeros(rows, vocabulary, device=device) if penalised else None

    def draw(self, logits: Float[Tensor, "rows vocabulary"]) -> Int64[Tensor, " rows"]:
        """Return the next token of every row.

        Raises `InvalidInput("strength")` if a logit is not finite: the steered model broke down.
        """
        if not logits.sum().isfinite():  # ten times as fast as checking each logit
            raise InvalidInput(
                "strength",
                "The steered model gives no finite numbers any more: choose a smaller strength.",
            )
        scores = logits
        if self._counts is not None:
            scores = scores - self.sampling.frequency_penalty * self._counts
        if self.sampling.temperature > 0:
            scores = _nucleus(scores / self.sampling.temperature, self.sampling.top_p)
            scores = scores + self._gumbel_noise(logits.shape[1]).to(scores)
        tokens = scores.argmax(-1)
        if self._counts is not None:
            self._counts.scatter_add_(1, tokens[:, None], torch.ones_like(self._counts[:, :1]))
        return tokens

    def _gumbel_noise(self, vocabulary: int) -> Float[Tensor, " vocabulary"]:
        return -torch.empty(vocabulary).exponential_(generator=self._generator).log()


def _nucleus(
    logits: Float[Tensor, "rows vocabulary"], top_p: float
) -> Float[Tensor, "rows vocabulary"]:
    """Set the logits outside the nucleus to -inf."""
    if top_p >= 1:
        return logits
    ordered, order = logits.sort(descending=True, dim=-1)
    probabilities = ordered.softmax(-1)
    # A token is outside if the more probable ones reach top_p without it.
    outside = probabilities.cumsum(-1) - probabilities >= top_p
    outside[:, 0] = False
    return logits.masked_fill(torch.zeros_like(outside).scatter(1, order, outside), -torch.inf)
