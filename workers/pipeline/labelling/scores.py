"""How well levels tell a truth on held-out tokens, with intervals by drawing whole contexts again.

Each token has a level, 0 to L - 1, and is true or not. At level 1 or more it counts as predicted:

    precision = right / predicted      recall = right / true      F1 = 2 right / (predicted + true)
    balanced accuracy = (recall + specificity) / 2                AUROC: a true token has a higher
    level than another, ties half

Tokens of one context are alike, so the 95% interval comes from contexts drawn again with
replacement (bootstrap, percentiles).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int, Int64

DRAWS = 400
INTERVAL = (2.5, 97.5)


class Measured(NamedTuple):
    """The numbers of the top of this file; each of `intervals` is [low, high] by the name of its
    number. Counts are of tokens.
    """

    f1: float
    precision: float
    recall: float
    balanced_accuracy: float
    auroc: float
    intervals: dict[str, tuple[float, float]]
    predicted: int
    true: int
    right: int


class Scored:
    """The tokens at `rows` of all, rising, on which levels are measured; `context` is that of every
    token, scored or not.

    `weights` is how often each of the `contexts` is in each of `DRAWS` samples: the same samples
    for all that is compared.
    """

    def __init__(
        self, rows: Int64[np.ndarray, " rows"], context: Int[np.ndarray, " tokens"], seed: int
    ) -> None:
        found, self._context = np.unique(context[rows], return_inverse=True)
        self.contexts, self.size = len(found), len(rows)
        self._place = np.full(len(context), -1)
        self._place[rows] = np.arange(len(rows))
        self._level = np.zeros(len(rows), dtype=np.int64)
        self._sizes = np.bincount(self._context, minlength=self.contexts)
        drawn = np.random.default_rng(seed).multinomial(
            self.contexts, np.full(self.contexts, 1 / self.contexts), DRAWS
        )
        self.weights: Float32[np.ndarray, "draws contexts"] = drawn.astype(np.float32)

    def among(self, rows: Int[np.ndarray, " rows"]) -> Bool[np.ndarray, " rows"]:
        """Which of these rows are scored."""
        return self._place[rows] >= 0

    def measure(
        self,
        rows: Int[np.ndarray, " said"],
        level: Int[np.ndarray, " said"],
        true: Int[np.ndarray, " true"],
    ) -> Measured:
        """Levels from 1 at some rows, 0 elsewhere, against the rows that are true; rows that are
        not scored do not count.
        """
        chosen = self.among(rows)
        said, level, fact = (
            self._place[rows[chosen]],
            level[chosen],
            self._place[true[self.among(true)]],
        )
        tops = int(level.max(initial=0)) + 1
        self._level[said] = level
        positive = self._counted(fact, self._level[fact], tops)
        self._level[said] = 0
        negative = self._counted(said, level, tops)
        negative[:, 1:] -= positive[:, 1:]
        negative[:, 0] = self._sizes - positive.sum(1) - negative[:, 1:].sum(1)
        counts = np.stack([negative, positive]).astype(np.float32)
        whole = _numbers(counts.sum(1, dtype=np.float64)[:, None])
        drawn = _numbers(np.stack([self.weights @ counts[side] for side in (0, 1)]))
        intervals = {name: _interval(drawn[name]) for name in whole}
        values = {name: float(number[0]) for name, number in whole.items()}
        right = int(positive[:, 1:].sum())
        return Measured(
            **values, intervals=intervals, predicted=len(said), true=len(fact), right=right
        )

    def _counted(
        self, places: Int64[np.ndarray, " places"], level: Int[np.ndarray, " places"], tops: int
    ) -> Int64[np.ndarray, "contexts tops"]:
        flat = np.bincount(self._context[places] * tops + level, minlength=self.contexts * tops)
        return flat.reshape(self.contexts, tops)


def _numbers(
    counts: Float32[np.ndarray, "2 draws levels"],
) -> dict[str, Float32[np.ndarray, " draws"]]:
    """All numbers of histograms of levels: [0] of false tokens, [1] of true ones. 0.5 where a side
    is empty, F1 0.
    """
    false, true = counts.astype(np.float64)
    right, wrong = true[:, 1:].sum(1), false[:, 1:].sum(1)
    every, none = true.sum(1), false.sum(1)
    both = (every > 0) & (none > 0)
    recall, fallout = right / np.maximum(every, 1), wrong / np.maximum(none, 1)
    below = np.cumsum(false, axis=1) - false
    wins = (true * (below + false / 2)).sum(1) / np.maximum(every * none, 1)
    return {
        "f1": 2 * right / np.maximum(right + wrong + every, 1),
        "precision": right / np.maximum(right + wrong, 1),
        "recall": recall,
        "balanced_accuracy": np.where(both, (recall + 1 - fallout) / 2, 0.5),
        "auroc": np.where(both, wins, 0.5),
    }


def _interval(values: Float32[np.ndarray, " draws"]) -> tuple[float, float]:
    low, high = np.percentile(values, INTERVAL)
    return float(low), float(high)


def ranked(values: Float32[np.ndarray, " tokens"], most: int = 15) -> Int64[np.ndarray, " tokens"]:
    """Levels of activations that are 0 or more: 0 for 0, the others in at most `most` groups of one
    size by rank.
    """
    level = np.zeros(len(values), dtype=np.int64)
    positive = np.flatnonzero(values > 0)
    if len(positive):
        edges = np.unique(np.quantile(values[positive], np.linspace(0, 1, most + 1)[1:-1]))
        level[positive] = 1 + np.searchsorted(edges, values[positive], side="right")
    return level
