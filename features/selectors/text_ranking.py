"""Ranks the features of a text by their activations on chosen tokens, or by the difference between
two texts.

A feature is a pair (slug of its SAE, index). Its firings map positions to activations; at other
positions its activation is 0.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

Key = tuple[str, int]
Firings = Mapping[Key, Mapping[int, float]]


class Ranked(NamedTuple):
    """A feature and the value by which it is ranked."""

    key: Key
    value: float


def by_feature(
    fired: Mapping[str, Sequence[Iterable[tuple[int, float]]]],
) -> dict[Key, dict[int, float]]:
    """Regroup firings: from features by position, for each SAE, to positions by feature."""
    firings: dict[Key, dict[int, float]] = defaultdict(dict)
    for slug, positions in fired.items():
        for position, features in enumerate(positions):
            for index, value in features:
                firings[slug, index][position] = value
    return dict(firings)


def rank(
    firings: Firings, chosen: Collection[int], others: Collection[int], by: str
) -> list[Ranked]:
    """Rank features by their activations on the chosen positions: descending, positive values only,
    ties by key.

    `by` is `sum`, `max`, or `difference`: the mean over the chosen positions minus the mean over
    the others.
    """
    inside, outside = frozenset(chosen), frozenset(others) - frozenset(chosen)

    def value(at: Mapping[int, float]) -> float:
        here = [size for position, size in at.items() if position in inside]
        if by != "difference":
            return max(here, default=0.0) if by == "max" else sum(here)
        there = [size for position, size in at.items() if position in outside]
        return _mean(sum(here), len(inside)) - _mean(sum(there), len(outside))

    return [
        row for row in _sorted((key, value(at)) for key, at in firings.items()) if row.value > 0
    ]


def rank_difference(
    first: Firings, tokens: int, second: Firings, others: int, by: str
) -> list[Ranked]:
    """Rank features by the difference of their activations between two texts of `tokens` and
    `others` tokens, by descending absolute value.

    `by` is `mean` (over all tokens of each text) or `max`. Values are negative if the feature is
    more active on the second text.
    """

    def value(at: Mapping[int, float], count: int) -> float:
        return max(at.values(), default=0.0) if by == "max" else _mean(sum(at.values()), count)

    keys = {*first, *second}
    return _sorted(
        (key, value(first.get(key, {}), tokens) - value(second.get(key, {}), others))
        for key in keys
    )


def _sorted(ranked: Iterable[tuple[Key, float]]) -> list[Ranked]:
    """Nonzero values by descending absolute value, ties by key."""
    nonzero = [Ranked(*row) for row in ranked if row[1]]
    return sorted(nonzero, key=lambda row: (-abs(row.value), row.key))


def _mean(total: float, count: int) -> float:
    return total / count if count else 0.0
