"""From answers to a score: balanced accuracy, correlation, AUROC, each with a 95% interval from
drawing texts again.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from features.records import ScoreRecord

DRAWS = 1000
INTERVAL = (2.5, 97.5)
Vector = Float[np.ndarray, " n"]


def of_answers(
    kind: str, truth: Sequence[float], said: Sequence[float | None], seed: int
) -> ScoreRecord | None:
    """Detection or fuzzing: `truth` and what was `said` of each text, 1 or 0; None where one side
    was never answered.
    """
    read = [(t, s) for t, s in zip(truth, said, strict=True) if s is not None]
    actual, called = (
        (np.array(column, dtype=float) for column in zip(*read, strict=True))
        if read
        else (np.zeros(0),) * 2
    )
    if not (actual == 1).any() or not (actual == 0).any():
        return None
    accuracy = balanced_accuracy(actual, called)
    low, high = interval(balanced_accuracy, actual, called, seed)
    right = float(((called == 1) & (actual == 1)).sum())
    details: dict[str, object] = {
        "unparsed": len(said) - len(read),
        "firing": int((actual == 1).sum()),
        "recall": right / float((actual == 1).sum()),
        "specificity": float(((called == 0) & (actual == 0)).sum() / (actual == 0).sum()),
        "precision": right / float((called == 1).sum()) if (called == 1).any() else None,
    }
    return ScoreRecord(
        kind, accuracy, low, high, len(read), balanced_accuracy=accuracy, details=details
    )


def of_simulation(
    truth: Sequence[Sequence[float]], said: Sequence[Sequence[float | None]], seed: int
) -> ScoreRecord | None:
    """Pearson correlation over all tokens of all texts that were answered; texts are what is drawn
    again.
    """
    read = [(t, s) for t, s in zip(truth, said, strict=True) if None not in s]
    if len(read) < 2 or not any(any(t) for t, _ in read):
        return None
    actual, guessed = (
        [np.array(text, dtype=float) for text in column] for column in zip(*read, strict=True)
    )
    value = correlation(np.concatenate(actual), np.concatenate(guessed))
    draw = np.random.default_rng(seed)
    drawn = []
    for _ in range(DRAWS):
        chosen = draw.integers(0, len(actual), len(actual))
        drawn.append(
            correlation(
                np.concatenate([actual[i] for i in chosen]),
                np.concatenate([guessed[i] for i in chosen]),
            )
        )
    low, high = np.percentile(drawn, INTERVAL)
    details: dict[str, object] = {
        "unparsed": len(said) - len(read),
        "tokens": int(sum(map(len, actual))),
    }
    return ScoreRecord("simulation", value, float(low), float(high), len(read), details=details)


def of_embedding(firing: Vector, silent: Vector, seed: int) -> ScoreRecord | None:
    """AUROC of the label's similarity to texts: a firing text is more similar than a silent one,
    ties half.
    """
    if not len(firing) or not len(silent):
        return None
    actual = np.concatenate([np.ones(len(firing)), np.zeros(len(silent))])
    similar = np.concatenate([firing, silent])
    value = auroc(actual, similar)
    low, high = interval(auroc, actual, similar, seed)
    return ScoreRecord(
        "embedding", value, low, high, len(actual), auroc=value, details={"firing": len(firing)}
    )


def of_intruder(
    truth: Sequence[float], said: Sequence[float | None], seed: int
) -> ScoreRecord | None:
    """Share of rounds in which the text that does not belong was found; chance is 0.2."""
    read = [float(t == s) for t, s in zip(truth, said, strict=True) if s is not None]
    if not read:
        return None
    found = np.array(read)
    low, high = interval(lambda right, _: float(right.mean()), found, found, seed)
    details: dict[str, object] = {"unparsed": len(said) - len(read), "chance": 0.2}
    return ScoreRecord("intruder", float(found.mean()), low, high, len(read), details=details)


def balanced_accuracy(actual: Vector, called: Vector) -> float:
    """Mean of recall and specificity; 0.5 where one side is empty."""
    firing, silent = called[actual == 1], called[actual == 0]
    return float((firing.mean() + 1 - silent.mean()) / 2) if len(firing) and len(silent) else 0.5


def auroc(actual: Vector, score: Vector) -> float:
    """Probability that a firing text scores above a silent one, ties counting half; 0.5 where one
    side is empty.
    """
    firing, silent = score[actual == 1], np.sort(score[actual == 0])
    if not len(firing) or not len(silent):
        return 0.5
    below, upto = np.searchsorted(silent, firing, "left"), np.searchsorted(silent, firing, "right")
    return float((below + upto).sum() / 2 / len(firing) / len(silent))


def correlation(actual: Vector, guessed: Vector) -> float:
    """Pearson's; 0 where one side does not vary."""
    if not actual.std() or not guessed.std():
        return 0.0
    return float(np.corrcoef(actual, guessed)[0, 1])


def interval(
    number: Callable[[Vector, Vector], float], actual: Vector, other: Vector, seed: int
) -> tuple[float, float]:
    """The 95% interval of a number of paired values, from pairs drawn again with replacement
    (percentiles).
    """
    draw = np.random.default_rng(seed)
    chosen = draw.integers(0, len(actual), (DRAWS, len(actual)))
    low, high = np.percentile([number(actual[row], other[row]) for row in chosen], INTERVAL)
    return float(low), float(high)
