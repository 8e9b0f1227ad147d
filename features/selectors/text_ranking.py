"""Which features matter on a text: ranked on chosen tokens, or by what tells two texts apart. Plain
arithmetic.

A feature is a pair (SAE's slug, index). Its firings map positions in the text to activations; where
it has none it is 0.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

Key = tuple[str, int]
Firings = Mapping[Key, Mapping[int, float]]


class Ranked(NamedTuple):
    """A feature with the value that it is ranked by."""

    key: Key
    value: float


def by_feature(
    fired: Mapping[str, Sequence[Iterable[tuple[int, float]]]],
) -> dict[Key, dict[int, float]]:
    """Firings from what is known of each SAE: for every position the features that fire there, with
    their activations.
    """
    found: dict[Key, dict[int, float]] = defaultdict(dict)
    for slug, positions in fired.items():
        for position, features in enumerate(positions):
            for index, value in features:
                found[slug, index][position] = value
    return dict(found)


def rank(
    firings: Firings, chosen: Collection[int], others: Collection[int], by: str
) -> list[Ranked]:
    """Features by their activations on the chosen positions, largest first, those above zero only,
    ties by key.

    `by` is `sum`, `max`, or `difference`: the mean over the chosen positions less the mean over the
    others.
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


def tell_apart(first: Firings, tokens: int, second: Firings, others: int, by: str) -> list[Ranked]:
    """Features by how much more they do on the first text of so many tokens than on the second, or
    less: largest first.

    `by` is `mean` (over all tokens of each text) or `max`. Values are negative where the second
    text has more.
    """

    def value(at: Mapping[int, float], count: int) -> float:
        return max(at.values(), default=0.0) if by == "max" else _mean(sum(at.values()), count)

    keys = {*first, *second}
    return _sorted(
        (key, value(first.get(key, {}), tokens) - value(second.get(key, {}), others))
        for key in keys
    )


def _sorted(ranked: Iterable[tuple[Key, float]]) -> list[Ranked]:
    """By falling size whatever the sign, ties by key; without those that are 0."""
    kept = [Ranked(*row) for row in ranked if row[1]]
    return sorted(kept, key=lambda row: (-abs(row.value), row.key))


def _mean(total: float, count: int) -> float:
    return total / count if count else 0.0
