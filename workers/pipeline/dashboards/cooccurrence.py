"""Count the tokens on which any two features fire together.

Counts are exact, do not depend on the order of batches, and add up over shards. They are one packed
triangle of int32: the count of features low < high is at high * (high - 1) / 2 + low. That takes
two bytes times the square of the number of features, 8 MiB at 2,048 features and 2 GiB at
`MAX_WIDTH`, and does not grow with the tokens; a count is exact up to 2**31 - 1. Wider SAEs have no
counts. The time is proportional to the pairs that fire, not to all pairs.
"""

from typing import Any, NamedTuple

import numba
import numpy as np
import torch
from torch import Tensor

from workers.pipeline.dashboards.sorting import LOW, run_lengths, run_starts, stable_argsort

MAX_WIDTH = 1 << 15
"""The most features whose pairs are counted."""

TOKENS_AT_ONCE = 512
"""Tokens whose pairs are counted at once on a GPU."""

BLOCK = 1 << 20
"""Scores computed at once: 8 MB for each intermediate result."""


class Partners(NamedTuple):
    """The features that fire most together with each of some features: one list per feature, by
    falling Jaccard index, then by index.
    """

    indices: list[list[int]]
    shared_tokens: list[list[int]]
    jaccards: list[list[float]]


class Cooccurrence:
    """Counts of the tokens on which two of `features` features fire.

    `counts` is empty, and `counted` false, for more than `max_width` features.
    """

    def __init__(
        self, features: int, device: torch.device | str = "cpu", max_width: int = MAX_WIDTH
    ) -> None:
        self.features = features
        self.counted = features <= max_width
        size = _flat_index(features, features) + 1 if self.counted else 0  # last row: padding
        self.counts = torch.zeros(size, dtype=torch.int32, device=device)

    def add(self, feature: Tensor, token: Tensor) -> None:
        """Count the pairs among activations [n]: int64 `feature` in rising order, and any integer
        `token` that identifies the token of each.
        """
        if not self.counted or not len(feature):
            return
        order = stable_argsort(token)
        lengths = run_lengths(run_starts(token[order]))
        if feature.device.type == "cpu":
            _count_on_cpu(self.counts.numpy(), feature[order].numpy(), lengths.numpy())
        else:
            self._count_on_gpu(feature[order], lengths)

    def merge(self, other: "Cooccurrence") -> None:
        """Add the counts of a shard."""
        self.counts += other.counts

    def shared_tokens(self, feature: Tensor, other: Tensor) -> Tensor:
        """Return the number of tokens on which `feature` and `other` fire together.

        The two may have any shapes that broadcast. Not defined for a feature and itself.
        """
        high, low = torch.maximum(feature, other), torch.minimum(feature, other)
        return self.counts[_flat_index(high, low)].long()

    def most_cooccurring(
        self, firing_counts: Tensor, count: int, start: int, stop: int, block: int = BLOCK
    ) -> Partners:
        """Return up to `count` partners of each feature of [start, stop), without features that
        share no token.

        `firing_counts` [features] is how often each feature fires. The score is the Jaccard index
        in float32: tokens on which both fire / tokens on which at least one does.
        """
        if not self.counted:
            features = range(start, stop)
            return Partners([[] for _ in features], [[] for _ in features], [[] for _ in features])
        partners = Partners([], [], [])
        rows_at_once = max(1, block // self.features)
        for rows in torch.arange(start, stop, device=firing_counts.device).split(rows_at_once):
            indices, jaccards = self._highest_scores(firing_counts, count, rows[:, None])
            shared = self.shared_tokens(rows[:, None], indices)
            lengths = (jaccards > 0).sum(1).tolist()
            partners.indices.extend(_truncated(indices, lengths))
            partners.shared_tokens.extend(_truncated(shared, lengths))
            partners.jaccards.extend(_truncated(jaccards, lengths))
        return partners

    def _highest_scores(
        self, firing_counts: Tensor, count: int, rows: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return indices and scores [rows, count] by falling score, then by index."""
        others = torch.arange(self.features, device=firing_counts.device)
        shared = self.shared_tokens(rows, others).scatter_(1, rows, 0)
        either = (firing_counts[rows] + firing_counts - shared).clamp(min=1)
        jaccard = (shared.double() / either).float()
        # The bits of positive floats have the order of the floats; the index in the low bits makes
        # every key unique.
        keys = (jaccard.view(torch.int32).long() << 32) | (self.features - 1 - others)
        best = keys.topk(min(count, self.features - 1)).values
        return self.features - 1 - (best & LOW), (best >> 32).int().view(torch.float32)

    def _count_on_gpu(self, feature: Tensor, lengths: Tensor) -> None:
        """Count the pairs of activations [n] that are ordered by token, then feature, with
        `lengths` of them on each token.
        """
        feature = torch.cat([feature, feature.new_tensor([self.features])])
        begins = lengths.cumsum(0) - lengths
        # Tokens of similar length share a block, so there is little padding.
        for tokens in stable_argsort(lengths).split(TOKENS_AT_ONCE):
            rank = torch.arange(int(lengths[tokens[-1]]), device=feature.device)[:, None]
            inside = rank < lengths[tokens]
            self._count_columns(feature[torch.where(inside, begins[tokens] + rank, -1)])
        self.counts[_flat_index(self.features, 0) :] = 0

    def _count_columns(self, features: Tensor) -> None:
        """Count the pairs in each column [activations, tokens] of rising features, padded at the
        end by `self.features`.
        """
        rows = _flat_index(features, 0)
        ones = torch.ones(features.numel(), dtype=torch.int32, device=features.device)
        for distance in range(1, len(features)):
            indices = (rows[distance:] + features[:-distance]).flatten()
            self.counts.scatter_add_(0, indices, ones[: len(indices)])


def _truncated(table: Tensor, lengths: list[int]) -> list[list[Any]]:
    return [row[:length] for row, length in zip(table.tolist(), lengths, strict=True)]


def _flat_index(high: Any, low: Any) -> Any:
    """Return the index of the count of features low < high: integers, or tensors of them."""
    return high * (high - 1) // 2 + low


@numba.njit(nogil=True, cache=True)
def _count_on_cpu(counts: np.ndarray, features: np.ndarray, lengths: np.ndarray) -> None:
    """Count one pair after another: compiled, this takes a tenth of the time of torch's
    `scatter_add_`.
    """
    begin = 0
    for length in lengths:
        for high in range(begin + 1, begin + length):
            row = features[high] * (features[high] - 1) // 2
            for low in range(begin, high):
                counts[row + features[low]] += 1
        begin += length
