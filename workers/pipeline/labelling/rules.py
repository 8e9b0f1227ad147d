"""Rules over concepts: which tokens a label claims that its feature fires on.

A rule is a few clauses, at least one of which must match. A clause matches a token that is one of
`tokens` (any, if empty), comes after one of `previous`, which comes after one of `earlier`, and has
all of `concepts`, some of them of the token before. Nothing that follows a token is in a clause,
because a causal model has not seen it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from workers.pipeline.labelling.evidence import NONE, Evidence

Rows = Int64[np.ndarray, " rows"]


class RuleConcept(NamedTuple):
    """A column of the evidence's flags: of the token itself, or of the one `before`."""

    column: int
    before: bool


class Clause(NamedTuple):
    """See the top of this file. `precision` is that on the training tokens which no earlier clause
    matches.
    """

    tokens: tuple[int, ...] = ()
    previous: tuple[int, ...] = ()
    earlier: tuple[int, ...] = ()
    concepts: tuple[RuleConcept, ...] = ()
    precision: float = 0.0


Rule = tuple[Clause, ...]

KEYS = ("tokens", "previous", "earlier")
"""The token sets of a clause, its first fields: of the token itself, the one before, and the one
before that.
"""


class TokenIndex:
    """Finds the tokens of the evidence that a clause matches; clauses with a token set do not need
    to look at all of them.
    """

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        earlier = np.where(evidence.before == NONE, NONE, evidence.previous[evidence.before])
        self.keys = (evidence.ids, evidence.previous, earlier)
        self._order = [np.argsort(key, kind="stable") for key in self.keys]
        self._begin = [
            np.concatenate([[0], np.cumsum(np.bincount(key - NONE))]) for key in self.keys
        ]

    def matching_rows(self, clause: Clause) -> Rows:
        """Return the rows of the tokens that a clause matches, in rising order."""
        rows: Rows | None = None
        for key, tokens in enumerate((clause.tokens, clause.previous, clause.earlier)):
            if not tokens:
                continue
            if rows is None:
                rows = self._rows_of_tokens(key, tokens)
            else:
                rows = rows[np.isin(self.keys[key][rows], tokens)]
        if rows is None:
            rows = np.arange(len(self.evidence.ids))
        for concept in clause.concepts:
            rows = self._rows_with_concept(concept, rows)
        return rows

    def rule_levels(self, rule: Rule) -> tuple[Rows, Int64[np.ndarray, " rows"]]:
        """Return the rows that a rule matches, in rising order, and a level for each: the higher,
        the more precise the most precise clause that matches. Levels start at 1.
        """
        clauses = sorted(rule, key=lambda clause: -clause.precision)
        matches = [self.matching_rows(clause) for clause in clauses]
        levels = np.repeat(np.arange(len(matches), 0, -1), [len(rows) for rows in matches])
        rows, first = np.unique(np.concatenate(matches), return_index=True)
        return rows, levels[first]

    def _rows_of_tokens(self, key: int, tokens: Sequence[int]) -> Rows:
        order, begin = self._order[key], self._begin[key]
        numbers = [token - NONE for token in tokens if token - NONE + 1 < len(begin)]
        parts = [order[begin[number] : begin[number + 1]] for number in numbers]
        return np.sort(np.concatenate([order[:0], *parts]))

    def _rows_with_concept(self, concept: RuleConcept, rows: Rows) -> Rows:
        evidence, byte, bit = self.evidence, concept.column // 8, 7 - concept.column % 8
        tested = evidence.before[rows] if concept.before else rows
        return rows[(evidence.flags[tested, byte] >> bit & 1 == 1) & (tested != NONE)]
