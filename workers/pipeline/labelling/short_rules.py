"""The short rule that a label states: one clause whose name a person reads at a glance.

The exact rule of `rule_search.py` predicts best and may take three clauses of many tokens. A label
is the clause, or a part of one, with the highest

    F1 on training tokens - `CHARACTER_PRICE` per character of its name

of those whose name has at most `MAX_NAME_LENGTH` characters. A part of a clause (a token set, a
concept) is therefore dropped if it adds less than its words cost.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from workers.pipeline.labelling.clause_names import MAX_NAME_LENGTH, ClauseNames
from workers.pipeline.labelling.rule_search import RuleSearch, SearchLimits
from workers.pipeline.labelling.rules import KEYS, Clause, Rule, TokenIndex

CHARACTER_PRICE = 0.002
"""F1 that a character of a name must add."""
SHORT_LIMITS = SearchLimits(clauses=1, part_gain=0.05)


class ShortRule(NamedTuple):
    """A clause, its name, and its F1 on training tokens."""

    clause: Clause
    name: str
    train_f1: float

    @property
    def worth(self) -> float:
        """F1 less the price of the name."""
        return self.train_f1 - CHARACTER_PRICE * len(self.name)


class ShortRules:
    """Finds the short rule of a feature on the training tokens of the evidence."""

    def __init__(self, index: TokenIndex, search: RuleSearch, names: ClauseNames) -> None:
        self._index, self._names = index, names
        self._train = search.train
        self._search = search.with_limits(SHORT_LIMITS)
        self._positive = np.zeros(len(search.train), dtype=bool)

    def shorten(self, rule: Rule, feature: int) -> ShortRule | None:
        """Return the best short rule, starting from the clauses of the exact rule and from the best
        clause with few parts; None if no name is short enough."""
        rows = self._index.evidence.strong_rows(feature).astype(np.int64)
        positives = rows[self._train[rows]]
        self._positive[positives] = True
        short, _ = self._search.best_rule(feature)
        starts = dict.fromkeys(clause._replace(precision=0.0) for clause in (*rule, *short))
        found = [self._shortest(clause, len(positives)) for clause in starts]
        self._positive[positives] = False
        fitting = [one for one in found if len(one.name) <= MAX_NAME_LENGTH]
        return max(fitting, key=lambda one: one.worth, default=None)

    def _shortest(self, clause: Clause, positives: int) -> ShortRule:
        """Drop parts of a clause as long as that makes it worth more, or its name is too long."""
        best = self._measure(clause, positives)
        while options := [self._measure(part, positives) for part in _without_one(best.clause)]:
            option = max(options, key=lambda one: one.worth)
            if option.worth < best.worth and len(best.name) <= MAX_NAME_LENGTH:
                break
            best = option
        return best

    def _measure(self, clause: Clause, positives: int) -> ShortRule:
        rows = self._index.matching_rows(clause)
        rows = rows[self._train[rows]]
        right = rows[self._positive[rows]]
        f1 = 2 * len(right) / max(len(rows) + positives, 1)
        precision = len(right) / max(len(rows), 1)
        name = self._names.name(clause, self._index.keys, right)
        return ShortRule(clause._replace(precision=precision), name, f1)


def _without_one(clause: Clause) -> Iterator[Clause]:
    """The clauses with one part less, and at least one part."""
    parts = sum(bool(getattr(clause, key)) for key in KEYS) + len(clause.concepts)
    if parts < 2:
        return
    for key in KEYS:
        if getattr(clause, key):
            yield _without_tokens(clause, key)
    for number in range(len(clause.concepts)):
        yield clause._replace(concepts=clause.concepts[:number] + clause.concepts[number + 1 :])


def _without_tokens(clause: Clause, key: str) -> Clause:
    fields: dict[str, Any] = {key: ()}
    return clause._replace(**fields)
