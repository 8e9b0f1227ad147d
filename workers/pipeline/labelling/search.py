"""Search of the rule that tells best, on training tokens, where a feature fires strongly.

Clauses are found one after another. Each starts from all sets of tokens that one concept, or none,
leaves best:

    for every concept c (of this token or the one before) and every key (this token, the one before,
    the one before that):
        tokens by falling precision among those with c; the set is the beginning of this order that
        gives the highest F1

which is the best set there is, as F1 only asks how many a set holds right and wrong. The best few
go on: one more concept, or a set for another key, where that gives more. What the clause holds on
is taken away, and the next one is sought for the rest. Rules must hold on other documents, too. So
a token is in a set only where it is right in two documents or more; of what it holds right one is
not counted, as if that firing had been left out; a token of few firings is counted as a little less
precise than it is; and every part of a rule must pay for itself.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int64

from workers.pipeline.labelling.counting import Columns
from workers.pipeline.labelling.evidence import NOTHING
from workers.pipeline.labelling.rules import KEYS, Clause, Concept, Index, Rule


class Limits(NamedTuple):
    """How long rules may be, and how much a part must add to F1 on training tokens to be taken.

    A token of a set is right on `fewest` training tokens or more, in `documents` or more of them,
    and `doubt` of these are not counted. `beam` starts go on; a clause grows where it holds on at
    most `region` tokens; `looked_at` are the most frequent.
    """

    clauses: int = 3
    tokens: int = 24
    beam: int = 4
    smooth: float = 2.0
    fewest: int = 2
    clause_gain: float = 0.01
    part_gain: float = 0.01
    region: int = 30_000
    looked_at: int = 64
    documents: int = 2
    doubt: float = 1.0


LIMITS = Limits()


class _State(NamedTuple):
    """What clauses so far leave: positives not yet held, tokens held already, and of these how many
    are right.
    """

    total: int
    rest: Int64[np.ndarray, " rows"]
    held: Int64[np.ndarray, " rows"]
    right: int

    def f1(
        self, right: Float32[np.ndarray, "*any"], held: Float32[np.ndarray, "*any"]
    ) -> Float32[np.ndarray, "*any"]:
        return 2 * (self.right + right) / (self.total + len(self.held) + held)


class Search:
    """The training half of the evidence, counted once for all features: concepts by token, for each
    key.
    """

    def __init__(self, index: Index, limits: Limits = LIMITS) -> None:
        self.limits, self._index = limits, index
        self.train = ~index.evidence.held
        self.evidence = index.evidence
        self._columns = Columns(index.evidence)
        self._keys = [
            key.astype(np.int64) - NOTHING for key in index.keys
        ]  # 0 is the outside of the context
        self._size = int(max(key.max() for key in self._keys)) + 1
        rows = np.flatnonzero(self.train)
        self._tables = [self._columns.by_key(rows, key, self._size) for key in self._keys]
        self._totals = np.asarray(self._tables[0].sum(0)).ravel()
        self._marks = np.zeros(len(self.train), dtype=bool)

    def rule(self, feature: int) -> tuple[Rule, float]:
        """The rule of a feature and its F1 on training tokens; an empty rule where the feature
        fires too seldom there.
        """
        fired = self.evidence.fired(feature).astype(np.int64)
        positive = fired[self.train[fired]]
        if len(positive) < self.limits.fewest:
            return (), 0.0
        state = _State(len(positive), positive, positive[:0], 0)
        clauses: list[Clause] = []
        best = 0.0
        while len(clauses) < self.limits.clauses and len(state.rest):
            grown, clause = self._taken(state, self._clause(state)[1])
            value = 2 * grown.right / (grown.total + len(grown.held))
            if value < best + self.limits.clause_gain:
                break
            state, best = grown, value
            clauses.append(clause)
        return tuple(clauses), best

    def _taken(self, state: _State, clause: Clause) -> tuple[_State, Clause]:
        region, hit = self._region(state, clause)
        right = int(hit.sum())
        new = _State(
            state.total, state.rest[~hit], np.union1d(state.held, region), state.right + right
        )
        return new, clause._replace(precision=right / max(len(region), 1))

    def _region(
        self, state: _State, clause: Clause
    ) -> tuple[Int64[np.ndarray, " rows"], Bool[np.ndarray, " rest"]]:
        """The training tokens on which a clause holds and none before it did, and which positives
        are among them.
        """
        rows = self._index.where(clause)
        rows = rows[self.train[rows]]
        self._marks[rows] = True
        self._marks[state.held] = False
        region, hit = rows[self._marks[rows]], self._marks[state.rest]
        self._marks[rows] = False
        return region, hit

    def _clause(self, state: _State) -> tuple[float, Clause]:
        """The best next clause, and the F1 with it less what its parts must gain."""
        starts = [self._whole(state)]
        for key in range(len(self._keys)):
            starts += self._sets(state, key)
        starts.sort(key=lambda start: -start[0])
        return max(
            (self._grown(state, *start) for start in starts[: self.limits.beam]),
            key=lambda found: found[0],
        )

    def _whole(self, state: _State) -> tuple[float, Clause]:
        """The best concept alone."""
        right, held = self._columns.sums(state.rest), self._totals - self._columns.sums(state.held)
        values = state.f1(right, held)
        values[0] = 0  # every token
        column = int(values.argmax())
        return float(values[column]), Clause(concepts=self._concepts(column))

    def _sets(self, state: _State, key: int) -> list[tuple[float, Clause]]:
        """The best sets of tokens of a key, alone or with one concept."""
        tokens = self._frequent(state.rest, key)
        if not len(tokens):
            return []
        right = self._counts(state.rest, key, tokens)
        held = self._tables[key][tokens].toarray().T
        if len(state.held):
            held = held - self._counts(state.held, key, tokens)
        values, sizes, order = self._best_sets(state, right, held)
        values = values - np.where(np.arange(len(values)) > 0, self.limits.part_gain, 0)
        found = []
        for column in np.argsort(-values, kind="stable")[: self.limits.beam].tolist():
            chosen = tokens[order[column, : sizes[column]]]
            found.append(
                (
                    float(values[column]),
                    self._with(Clause(concepts=self._concepts(column)), key, chosen),
                )
            )
        return found

    def _best_sets(
        self, state: _State, right: np.ndarray, held: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For each row of counts [rows, tokens]: the best F1, how many tokens make it, and their
        order.
        """
        most = min(self.limits.tokens, right.shape[1])
        precision = np.where(
            right >= self.limits.fewest, right / np.maximum(held + self.limits.smooth, 1), 0
        )
        order = np.argsort(-right * precision, axis=1, kind="stable")[:, :most]
        by_precision = np.argsort(-np.take_along_axis(precision, order, 1), axis=1, kind="stable")
        order = np.take_along_axis(order, by_precision, 1)
        good = np.take_along_axis(precision, order, 1) > 0
        rights = np.where(good, np.take_along_axis(right, order, 1) - self.limits.doubt, 0).cumsum(
            1
        )
        helds = np.where(good, np.take_along_axis(held, order, 1), 0).cumsum(1)
        values = np.where(good, state.f1(rights, helds), 0)
        best = values.argmax(1)
        return values[np.arange(len(values)), best], best + 1, order

    def _grown(self, state: _State, value: float, clause: Clause) -> tuple[float, Clause]:
        """The clause with one more concept or a set for another key, where that pays."""
        region, hit = self._region(state, clause)
        if not 0 < len(region) <= self.limits.region:
            return value, clause
        inside = state.rest[hit]
        options = [(value, clause)]
        values = (
            state.f1(self._columns.sums(inside), self._columns.sums(region)) - self.limits.part_gain
        )
        column = int(values.argmax())
        options.append(
            (
                float(values[column]),
                clause._replace(concepts=(*clause.concepts, *self._concepts(column))),
            )
        )
        for key in range(len(self._keys)):
            if not getattr(clause, KEYS[key]) and len(inside):
                options.append(self._other_set(state, clause, key, inside, region))
        return max(options, key=lambda option: option[0])

    def _other_set(
        self, state: _State, clause: Clause, key: int, inside: np.ndarray, region: np.ndarray
    ) -> tuple[float, Clause]:
        right = np.bincount(self._keys[key][inside], minlength=self._size)
        held = np.bincount(self._keys[key][region], minlength=self._size)
        right[0] = 0
        tokens = self._in_documents(np.flatnonzero(right), inside, key)
        if not len(tokens):
            return 0.0, clause
        values, sizes, order = self._best_sets(state, right[None, tokens], held[None, tokens])
        return float(values[0]) - self.limits.part_gain, self._with(
            clause, key, tokens[order[0, : sizes[0]]]
        )

    @staticmethod
    def _with(clause: Clause, key: int, tokens: np.ndarray) -> Clause:
        """The clause with a set of tokens for a key, given as they are counted."""
        changed: dict[str, Any] = {KEYS[key]: tuple((tokens + NOTHING).tolist())}
        return clause._replace(**changed)

    def _concepts(self, column: int) -> tuple[Concept, ...]:
        count = len(self.evidence.names)
        return () if column == 0 else (Concept((column - 1) % count, column > count),)

    def _frequent(self, rows: Int64[np.ndarray, " rows"], key: int) -> Int64[np.ndarray, " tokens"]:
        """The tokens of a key that most of the rows have, rising."""
        count = np.bincount(self._keys[key][rows], minlength=self._size)
        count[0] = 0
        tokens = np.argsort(-count, kind="stable")[: self.limits.looked_at]
        return self._in_documents(np.sort(tokens[count[tokens] >= self.limits.fewest]), rows, key)

    def _in_documents(
        self, tokens: Int64[np.ndarray, " tokens"], rows: Int64[np.ndarray, " rows"], key: int
    ) -> Int64[np.ndarray, " tokens"]:
        """Those of the tokens that the rows have in documents enough."""
        evidence = self.evidence
        pairs = np.unique(self._keys[key][rows] << 32 | evidence.document[evidence.context[rows]])
        return tokens[
            np.bincount(pairs >> 32, minlength=self._size)[tokens] >= self.limits.documents
        ]

    def _counts(
        self, rows: Int64[np.ndarray, " rows"], key: int, tokens: Int64[np.ndarray, " tokens"]
    ) -> Float32[np.ndarray, "columns tokens"]:
        """How many of the rows have each of the tokens and each column."""
        place = np.full(self._size, -1, dtype=np.int64)
        place[tokens] = np.arange(len(tokens))
        at = place[self._keys[key][rows]]
        return self._columns.counts(rows[at >= 0], at[at >= 0], len(tokens))
