"""How well levels tell a truth on held-out tokens, with intervals by drawing whole contexts again.

Each token has a level, 0 to L - 1, and is true or not. At level 1 or more it counts as predicted:

    precision = right / predicted      recall = right / true      F1 = 2 right / (predicted + true)
    balanced accuracy = (recall + specificity) / 2                AUROC: a true token has a higher level than another, ties half

Tokens of one context are alike, so the 95% interval comes from contexts drawn again with replacement (bootstrap, percentiles).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int, Int64

DRAWS = 400
INTERVAL = (2.5, 97.5)


class Measured(NamedTuple):
    """The numbers of the top of this file; each of `intervals` is [low, high] by the name of its number. Counts are of tokens."""

    f1: float
    precision: float
    recall: float
    balanced_accuracy: float
    auroc: float
    intervals: dict[str, tuple[float, float]]
    predicted: int
    true: int
    right: int


class Draws:
    """How often each of `contexts` is in each of `DRAWS` samples; the same samples for all that is compared."""

    def __init__(self, contexts: int, seed: int) -> None:
        drawn = np.random.default_rng(seed).multinomial(contexts, np.full(contexts, 1 / contexts), DRAWS)
        self.weights: Float32[np.ndarray, "draws contexts"] = drawn.astype(np.float32)


def measure(
    level: Int[np.ndarray, " tokens"],
    true: Bool[np.ndarray, " tokens"],
    context: Int[np.ndarray, " tokens"],
    draws: Draws,
) -> Measured:
    """Levels against the truth; `context` numbers the contexts from 0 as `draws` does."""
    contexts, tops = draws.weights.shape[1], int(level.max(initial=0)) + 1
    counts = np.zeros((2, contexts, tops), dtype=np.float32)
    for side, chosen in enumerate((~true, true)):
        flat = np.bincount(context[chosen] * tops + level[chosen], minlength=contexts * tops)
        counts[side] = flat.reshape(contexts, tops)
    whole = _numbers(counts.sum(1, dtype=np.float64)[:, None])
    drawn = _numbers(np.stack([draws.weights @ counts[side] for side in (0, 1)]))
    intervals = {name: _interval(drawn[name]) for name in whole}
    values = {name: float(number[0]) for name, number in whole.items()}
    right = int(counts[1, :, 1:].sum())
    predicted = int(counts[:, :, 1:].sum())
    return Measured(**values, intervals=intervals, predicted=predicted, true=int(true.sum()), right=right)


def _numbers(counts: Float32[np.ndarray, "2 draws levels"]) -> dict[str, Float32[np.ndarray, " draws"]]:
    """All numbers of histograms of levels: [0] of false tokens, [1] of true ones. 0.5 where a side is empty, F1 0."""
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
    """Levels of activations that are 0 or more: 0 for 0, the others in at most `most` groups of one size by rank."""
    level = np.zeros(len(values), dtype=np.int64)
    positive = np.flatnonzero(values > 0)
    if len(positive):
        edges = np.unique(np.quantile(values[positive], np.linspace(0, 1, most + 1)[1:-1]))
        level[positive] = 1 + np.searchsorted(edges, values[positive], side="right")
    return level
