"""On how many tokens any two features fire together: exact, whatever the order of batches, and
shards add up.

One packed triangle of int32 holds a count for every two features: low < high is at high * (high -
1) / 2 + low. That is two bytes times the square of the width, 8 MiB at 2,048 features and 2 GiB at
`WIDEST`, and does not grow with the tokens; a count is exact up to 2**31 - 1. SAEs that are wider
keep no counts. The work is that of the pairs that fire, not of all pairs.
"""

from typing import Any, NamedTuple

import numba
import numpy as np
import torch
from torch import Tensor

from workers.pipeline.dashboards.sorting import LOW, run_lengths, stable_argsort, starts

WIDEST = 1 << 15
"""Features up to which pairs are counted."""

TOKENS = 512
"""Tokens whose pairs are counted at once: a table of so many columns stays in the processor's
cache.
"""

BLOCK = 1 << 20
"""Scores computed at once: 8 MB for each step of them."""


class Partners(NamedTuple):
    """What fires most on the tokens of some features, one list each by falling Jaccard index, then
    by index.
    """

    indices: list[list[int]]
    both: list[list[int]]
    jaccards: list[list[float]]


class CoFiring:
    """Counts of tokens on which two of `features` features fire. `counts` is empty where they are
    more than `widest`.
    """

    def __init__(
        self, features: int, device: torch.device | str = "cpu", widest: int = WIDEST
    ) -> None:
        self.features = features
        self.counted = features <= widest
        size = _place(features, features) + 1 if self.counted else 0  # the last row is for padding
        self.counts = torch.zeros(size, dtype=torch.int32, device=device)

    def add(self, feature: Tensor, token: Tensor) -> None:
        """Count the pairs among firings [n]: int64 `feature` rising, and the `token` that each is
        on, named by any integer.
        """
        if not self.counted or not len(feature):
            return
        order = stable_argsort(token)
        lengths = run_lengths(starts(token[order]))
        if feature.device.type == "cpu":
            _count_pairs(self.counts.numpy(), feature[order].numpy(), lengths.numpy())
        else:
            self._count_columns(feature[order], lengths)

    def _count_columns(self, feature: Tensor, lengths: Tensor) -> None:
        """Count the pairs of firings [n] by token, `lengths` of them on each, rising: for devices
        that do much at once.
        """
        feature = torch.cat([feature, feature.new_tensor([self.features])])
        begins = lengths.cumsum(0) - lengths
        for some in stable_argsort(lengths).split(
            TOKENS
        ):  # with about as many firings each, so with little padding
            rank = torch.arange(int(lengths[some[-1]]), device=feature.device)[:, None]
            inside = rank < lengths[some]
            self._count(feature[torch.where(inside, begins[some] + rank, -1)])
        self.counts[_place(self.features, 0) :] = 0

    def merge(self, other: "CoFiring") -> None:
        """Add what a shard counted."""
        self.counts += other.counts

    def both(self, feature: Tensor, other: Tensor) -> Tensor:
        """Tokens on which each `feature` fires together with the `other` [any shapes that
        broadcast]; not with itself.
        """
        high, low = torch.maximum(feature, other), torch.minimum(feature, other)
        return self.counts[_place(high, low)].long()

    def partners(
        self, fires: Tensor, count: int, start: int, stop: int, block: int = BLOCK
    ) -> Partners:
        """For features [start, stop): up to `count` others that share the most tokens, given all
        `fires` [features].

        The score is the Jaccard index in float32: tokens on which both fire / tokens on which at
        least one does.
        """
        if not self.counted:
            wanted = range(start, stop)
            return Partners([[] for _ in wanted], [[] for _ in wanted], [[] for _ in wanted])
        found = Partners([], [], [])
        for rows in torch.arange(start, stop, device=fires.device).split(
            max(1, block // self.features)
        ):
            indices, jaccards = self._best(fires, count, rows[:, None])
            both = self.both(rows[:, None], indices)
            shared = (jaccards > 0).sum(1).tolist()  # the others share no token
            for into, column in (
                (found.indices, indices),
                (found.both, both),
                (found.jaccards, jaccards),
            ):
                into.extend(
                    row[:length] for row, length in zip(column.tolist(), shared, strict=True)
                )
        return found

    def _best(self, fires: Tensor, count: int, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Indices and scores [rows, count] by falling score, then by rising index; of no other, the
        score is 0.
        """
        others = torch.arange(self.features, device=fires.device)
        both = self.both(rows, others).scatter_(1, rows, 0)
        jaccard = (both.double() / (fires[rows] + fires - both).clamp(min=1)).float()
        # bits of positive floats order as they do; with the index below them no two keys are the
        # same
        keys = (jaccard.view(torch.int32).long() << 32) | (self.features - 1 - others)
        best = keys.topk(min(count, self.features - 1)).values
        return self.features - 1 - (best & LOW), (best >> 32).int().view(torch.float32)

    def _count(self, features: Tensor) -> None:
        """Count the pairs in each column [firings, tokens] of rising features, padded at the end by
        one more than all.
        """
        rows = _place(features, 0)
        ones = torch.ones(features.numel(), dtype=torch.int32, device=features.device)
        for apart in range(1, len(features)):
            places = (rows[apart:] + features[:-apart]).flatten()
            self.counts.scatter_add_(0, places, ones[: len(places)])


def _place(high: Any, low: Any) -> Any:
    """Where the triangle holds the count of two features, low < high: integers or
    tensors of them.
    """
    return high * (high - 1) // 2 + low


@numba.njit(nogil=True, cache=True)
def _count_pairs(counts: np.ndarray, features: np.ndarray, lengths: np.ndarray) -> None:
    """The same, one pair after another: compiled, a processor needs a tenth of the time of torch's
    scattered additions.
    """
    begin = 0
    for length in lengths:
        for high in range(begin + 1, begin + length):
            row = features[high] * (features[high] - 1) // 2
            for low in range(begin, high):
                counts[row + features[low]] += 1
        begin += length
