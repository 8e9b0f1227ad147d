"""Scores of predictions on held-out tokens, with bootstrap intervals over contexts.

Each token has a predicted level, 0 to L - 1, and is true or not. A level of 1 or more counts as
predicted:

    precision            right / predicted
    recall               right / true
    F1                   2 right / (predicted + true)
    balanced accuracy    (recall + specificity) / 2
    AUROC                probability that a true token has a higher level than another, ties half

Tokens of one context are not independent, so the 95% interval is the percentile bootstrap over
whole contexts.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int, Int64

BOOTSTRAP_SAMPLES = 400
INTERVAL = (2.5, 97.5)


class PredictionScores(NamedTuple):
    """The numbers at the top of this file. `intervals` has [low, high] by the name of a number;
    `predicted`, `true` and `right` count tokens.
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

    def rounded_intervals(self) -> dict[str, list[float]]:
        """Return the intervals rounded to 4 digits, for JSON."""
        return {name: [round(end, 4) for end in ends] for name, ends in self.intervals.items()}


class ScoredTokens:
    """The tokens at `rows`, in rising order, on which predictions are scored.

    `context` [tokens] is the context of every token, scored or not. `weights` is how often each of
    the `contexts` occurs in each bootstrap sample; the samples are the same for all predictions.
    """

    def __init__(
        self, rows: Int64[np.ndarray, " rows"], context: Int[np.ndarray, " tokens"], seed: int
    ) -> None:
        unique, self._context = np.unique(context[rows], return_inverse=True)
        self.contexts, self.size = len(unique), len(rows)
        self._index = np.full(len(context), -1)
        self._index[rows] = np.arange(len(rows))
        self._levels = np.zeros(len(rows), dtype=np.int64)
        self._sizes = np.bincount(self._context, minlength=self.contexts)
        samples = np.random.default_rng(seed).multinomial(
            self.contexts, np.full(self.contexts, 1 / self.contexts), BOOTSTRAP_SAMPLES
        )
        self.weights: Float32[np.ndarray, "samples contexts"] = samples.astype(np.float32)

    def are_scored(self, rows: Int[np.ndarray, " rows"]) -> Bool[np.ndarray, " rows"]:
        """Return which of these rows are scored."""
        return self._index[rows] >= 0

    def measure(
        self,
        rows: Int[np.ndarray, " predicted"],
        levels: Int[np.ndarray, " predicted"],
        true_rows: Int[np.ndarray, " true"],
    ) -> PredictionScores:
        """Score the prediction of `levels`, 1 or more, at `rows`, and 0 elsewhere.

        Rows that are not scored are ignored.
        """
        scored = self.are_scored(rows)
        predicted, levels = self._index[rows[scored]], levels[scored]
        true = self._index[true_rows[self.are_scored(true_rows)]]
        histograms = self._level_histograms(predicted, levels, true)
        values = _numbers(histograms.sum(1, dtype=np.float64)[:, None])
        samples = _numbers(np.stack([self.weights @ histograms[side] for side in (0, 1)]))
        return PredictionScores(
            **{name: float(value[0]) for name, value in values.items()},
            intervals={name: _interval(samples[name]) for name in values},
            predicted=len(predicted),
            true=len(true),
            right=int(histograms[1, :, 1:].sum()),
        )

    def _level_histograms(
        self,
        predicted: Int64[np.ndarray, " predicted"],
        levels: Int[np.ndarray, " predicted"],
        true: Int64[np.ndarray, " true"],
    ) -> Float32[np.ndarray, "2 contexts levels"]:
        """Return the count of false [0] and true [1] tokens by context and level."""
        size = int(levels.max(initial=0)) + 1
        self._levels[predicted] = levels
        positive = self._count(true, self._levels[true], size)
        self._levels[predicted] = 0
        negative = self._count(predicted, levels, size)
        negative[:, 1:] -= positive[:, 1:]
        negative[:, 0] = self._sizes - positive.sum(1) - negative[:, 1:].sum(1)
        return np.stack([negative, positive]).astype(np.float32)

    def _count(
        self, indices: Int64[np.ndarray, " n"], levels: Int[np.ndarray, " n"], size: int
    ) -> Int64[np.ndarray, "contexts levels"]:
        cells = self._context[indices] * size + levels
        return np.bincount(cells, minlength=self.contexts * size).reshape(self.contexts, size)


def _numbers(
    histograms: Float32[np.ndarray, "2 samples levels"],
) -> dict[str, Float32[np.ndarray, " samples"]]:
    """Return all numbers by name, from the levels of false [0] and true [1] tokens.

    Without true or without false tokens, AUROC and balanced accuracy are 0.5, and F1 is 0.
    """
    false, true = histograms.astype(np.float64)
    true_positives, false_positives = true[:, 1:].sum(1), false[:, 1:].sum(1)
    positives, negatives = true.sum(1), false.sum(1)
    defined = (positives > 0) & (negatives > 0)
    recall = true_positives / np.maximum(positives, 1)
    fallout = false_positives / np.maximum(negatives, 1)
    lower = np.cumsum(false, axis=1) - false
    wins = (true * (lower + false / 2)).sum(1) / np.maximum(positives * negatives, 1)
    predicted = true_positives + false_positives
    return {
        "f1": 2 * true_positives / np.maximum(predicted + positives, 1),
        "precision": true_positives / np.maximum(predicted, 1),
        "recall": recall,
        "balanced_accuracy": np.where(defined, (recall + 1 - fallout) / 2, 0.5),
        "auroc": np.where(defined, wins, 0.5),
    }


def _interval(values: Float32[np.ndarray, " samples"]) -> tuple[float, float]:
    low, high = np.percentile(values, INTERVAL)
    return float(low), float(high)


def rank_levels(
    values: Float32[np.ndarray, " tokens"], max_levels: int = 15
) -> Int64[np.ndarray, " tokens"]:
    """Return levels of activations: 0 for 0, and up to `max_levels` levels of equal size by rank
    for the positive ones.
    """
    levels = np.zeros(len(values), dtype=np.int64)
    positive = np.flatnonzero(values > 0)
    if len(positive):
        edges = np.unique(np.quantile(values[positive], np.linspace(0, 1, max_levels + 1)[1:-1]))
        levels[positive] = 1 + np.searchsorted(edges, values[positive], side="right")
    return levels
