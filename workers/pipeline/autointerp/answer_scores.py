"""Compute scores from answers: balanced accuracy, correlation and AUROC, each with a 95% bootstrap
interval over texts.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from features.records import ScoreRecord

BOOTSTRAP_SAMPLES = 1000
INTERVAL = (2.5, 97.5)
Vector = Float[np.ndarray, " n"]


def score_answers(
    kind: str, labels: Sequence[float], answers: Sequence[float | None], seed: int
) -> ScoreRecord | None:
    """Score detection or fuzzing. Labels and answers are 1 or 0 for each text, and None if there is
    no valid answer. Returns None if no firing text, or no other one, was answered.
    """
    pairs = [(t, s) for t, s in zip(labels, answers, strict=True) if s is not None]
    actual, predicted = np.array(pairs, dtype=float).reshape(-1, 2).T
    firing, silent = actual == 1, actual == 0
    if not firing.any() or not silent.any():
        return None
    accuracy = balanced_accuracy(actual, predicted)
    low, high = bootstrap_interval(balanced_accuracy, actual, predicted, seed)
    right = float((predicted[firing] == 1).sum())
    positives = float((predicted == 1).sum())
    details: dict[str, object] = {
        "unparsed": len(answers) - len(pairs),
        "firing": int(firing.sum()),
        "recall": right / float(firing.sum()),
        "specificity": float((predicted[silent] == 0).sum() / silent.sum()),
        "precision": right / positives if positives else None,
    }
    return ScoreRecord(
        kind,
        accuracy,
        low,
        high,
        len(pairs),
        balanced_accuracy=accuracy,
        details=details,
        f1=2 * right / (positives + float(firing.sum())),
    )


def score_simulation(
    activations: Sequence[Sequence[float]], answers: Sequence[Sequence[float | None]], seed: int
) -> ScoreRecord | None:
    """Score simulation by the Pearson correlation over the tokens of all texts that were answered.

    The bootstrap samples texts. Returns None for fewer than two answered texts, or if the feature
    fires in none of them.
    """
    pairs = [(t, s) for t, s in zip(activations, answers, strict=True) if None not in s]
    if len(pairs) < 2 or not any(any(values) for values, _ in pairs):
        return None
    actual, simulated = (
        [np.array(text, dtype=float) for text in column] for column in zip(*pairs, strict=True)
    )
    value = correlation(np.concatenate(actual), np.concatenate(simulated))
    generator = np.random.default_rng(seed)
    samples = []
    for _ in range(BOOTSTRAP_SAMPLES):
        indices = generator.integers(0, len(actual), len(actual))
        actual_sample = np.concatenate([actual[i] for i in indices])
        simulated_sample = np.concatenate([simulated[i] for i in indices])
        samples.append(correlation(actual_sample, simulated_sample))
    low, high = np.percentile(samples, INTERVAL)
    details: dict[str, object] = {
        "unparsed": len(answers) - len(pairs),
        "tokens": int(sum(map(len, actual))),
    }
    return ScoreRecord("simulation", value, float(low), float(high), len(pairs), details=details)


def score_embedding(firing: Vector, silent: Vector, seed: int) -> ScoreRecord | None:
    """Score a label by the AUROC of its similarity to firing and to silent texts.

    Returns None if there are no texts of one kind.
    """
    if not len(firing) or not len(silent):
        return None
    actual = np.concatenate([np.ones(len(firing)), np.zeros(len(silent))])
    similarity = np.concatenate([firing, silent])
    value = auroc(actual, similarity)
    low, high = bootstrap_interval(auroc, actual, similarity, seed)
    return ScoreRecord(
        "embedding", value, low, high, len(actual), auroc=value, details={"firing": len(firing)}
    )


def score_intruder(
    labels: Sequence[float], answers: Sequence[float | None], seed: int
) -> ScoreRecord | None:
    """Score the share of prompts in which the intruder was identified; a random guess has 0.2."""
    results = [float(t == s) for t, s in zip(labels, answers, strict=True) if s is not None]
    if not results:
        return None
    right = np.array(results)
    low, high = bootstrap_interval(lambda sample, _: float(sample.mean()), right, right, seed)
    details: dict[str, object] = {"unparsed": len(answers) - len(results), "chance": 0.2}
    return ScoreRecord("intruder", float(right.mean()), low, high, len(results), details=details)


def balanced_accuracy(actual: Vector, predicted: Vector) -> float:
    """Return the mean of recall and specificity; 0.5 without texts of one kind."""
    firing, silent = predicted[actual == 1], predicted[actual == 0]
    return float((firing.mean() + 1 - silent.mean()) / 2) if len(firing) and len(silent) else 0.5


def auroc(actual: Vector, score: Vector) -> float:
    """Return the probability that a firing text scores above a silent one, ties counting half; 0.5
    without texts of one kind.
    """
    firing, silent = score[actual == 1], np.sort(score[actual == 0])
    if not len(firing) or not len(silent):
        return 0.5
    below, upto = np.searchsorted(silent, firing, "left"), np.searchsorted(silent, firing, "right")
    return float((below + upto).sum() / 2 / len(firing) / len(silent))


def correlation(actual: Vector, simulated: Vector) -> float:
    """Return Pearson's correlation; 0 if one side is constant."""
    if not actual.std() or not simulated.std():
        return 0.0
    return float(np.corrcoef(actual, simulated)[0, 1])


def bootstrap_interval(
    statistic: Callable[[Vector, Vector], float], actual: Vector, other: Vector, seed: int
) -> tuple[float, float]:
    """Return the 95% interval of a statistic of paired values by the percentile bootstrap."""
    generator = np.random.default_rng(seed)
    samples = generator.integers(0, len(actual), (BOOTSTRAP_SAMPLES, len(actual)))
    values = [statistic(actual[indices], other[indices]) for indices in samples]
    low, high = np.percentile(values, INTERVAL)
    return float(low), float(high)
