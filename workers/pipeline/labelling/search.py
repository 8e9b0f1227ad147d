"""Search of the rule that tells best, on training tokens, where a feature fires strongly.

Clauses are found one after another. Each starts from all sets of tokens that one concept, or none, leaves best:

    for every concept c (of this token or the one before) and both keys (this token, the one before):
        tokens by falling precision among those with c; the set is the beginning of this order that gives the highest F1

which is the best set there is, as F1 only asks how many a set holds right and wrong. The best few go on: one more concept, or
a set for the other key, where that gives more. What the clause holds on is taken away, and the next one is sought for the rest.
A token of few firings is counted as a little less precise than it is, and every part of a rule must pay for itself, so that
rules stay short and hold on other documents, too.
"""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float32, Int64

from workers.pipeline.labelling.evidence import NOTHING
from workers.pipeline.labelling.rules import Clause, Concept, Index, Rule

Keys = tuple[Int64[np.ndarray, " tokens"], Int64[np.ndarray, " tokens"]]


class Limits(NamedTuple):
    """How long rules may be, and how much a part must add to F1 on training tokens to be taken."""

    clauses: int = 3
    tokens: int = 16
    beam: int = 4
    smooth: float = 2.0
    fewest: int = 2
    clause_gain: float = 0.01
    part_gain: float = 0.01
    region: int = 30_000
    looked_at: int = 64


LIMITS = Limits()


class _State(NamedTuple):
    """What clauses so far leave: positives not yet held, tokens held already, and of these how many are right."""

    total: int
    rest: Int64[np.ndarray, " rows"]
    held: Int64[np.ndarray, " rows"]
    right: int

    def f1(self, right: Float32[np.ndarray, "*any"], held: Float32[np.ndarray, "*any"]) -> Float32[np.ndarray, "*any"]:
        return 2 * (self.right + right) / (self.total + len(self.held) + held)


class Search:
    """The training half of the evidence, counted once for all features: concepts by token, of this key and of the one before."""

    def __init__(self, index: Index, limits: Limits = LIMITS) -> None:
        self.evidence, self.limits, self._index = index.evidence, limits, index
        evidence = index.evidence
        self.train = ~evidence.held
        self.columns = 1 + 2 * len(evidence.names)
        self._keys: Keys = (evidence.ids.astype(np.int64), evidence.previous.astype(np.int64) + 1)
        self._size = int(max(key.max() for key in self._keys)) + 1
        rows = np.flatnonzero(self.train)
        self._tables = self._count_all(rows)
        self._totals = np.asarray(self._tables[0].sum(0)).ravel()
        self._marks = np.zeros(len(evidence.ids), dtype=bool)

    def rule(self, feature: int) -> tuple[Rule, float]:
        """The rule of a feature and its F1 on training tokens; an empty rule where the feature fires too seldom there."""
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
        new = _State(state.total, state.rest[~hit], np.union1d(state.held, region), state.right + right)
        return new, clause._replace(precision=right / max(len(region), 1))

    def _region(self, state: _State, clause: Clause) -> tuple[Int64[np.ndarray, " rows"], Bool[np.ndarray, " rest"]]:
        """The training tokens on which a clause holds and none before it did, and which positives are among them."""
        rows = self._index.where(clause)
        rows = rows[self.train[rows]]
        self._marks[rows] = True
        self._marks[state.held] = False
        region, hit = rows[self._marks[rows]], self._marks[state.rest]
        self._marks[rows] = False
        return region, hit

    def _clause(self, state: _State) -> tuple[float, Clause]:
        """The best next clause, and the F1 with it less what its parts must gain."""
        starts = [self._whole(state), *self._sets(state, 0), *self._sets(state, 1)]
        starts.sort(key=lambda start: -start[0])
        return max((self._grown(state, *start) for start in starts[: self.limits.beam]), key=lambda found: found[0])

    def _whole(self, state: _State) -> tuple[float, Clause]:
        """The best concept alone."""
        right, held = self._sum(state.rest), self._totals - self._sum(state.held)
        values = state.f1(right, held)
        values[0] = 0  # every token
        column = int(values.argmax())
        return float(values[column]), Clause(concepts=self._concepts(column))

    def _sets(self, state: _State, key: int) -> list[tuple[float, Clause]]:
        """The best sets of tokens of a key, alone or with one concept."""
        tokens, right = self._counts(state.rest, key)
        if not len(tokens):
            return []
        held = self._tables[key][tokens].toarray().T
        if len(state.held):
            held = held - self._counts(state.held, key, tokens)[1]
        values, sizes, order = self._best_sets(state, right, held)
        values = values - np.where(np.arange(self.columns) > 0, self.limits.part_gain, 0)
        found = []
        for column in np.argsort(-values, kind="stable")[: self.limits.beam].tolist():
            chosen = tuple(int(token) for token in tokens[order[column, : sizes[column]]])
            found.append((float(values[column]), self._of_key(key, chosen, self._concepts(column))))
        return found

    def _best_sets(
        self, state: _State, right: np.ndarray, held: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For each row of counts [rows, tokens]: the best F1, how many tokens make it, and their order."""
        most = min(self.limits.tokens, right.shape[1])
        precision = np.where(right >= self.limits.fewest, right / np.maximum(held + self.limits.smooth, 1), 0)
        order = np.argsort(-right * precision, axis=1, kind="stable")[:, :most]
        by_precision = np.argsort(-np.take_along_axis(precision, order, 1), axis=1, kind="stable")
        order = np.take_along_axis(order, by_precision, 1)
        good = np.take_along_axis(precision, order, 1) > 0
        rights = np.where(good, np.take_along_axis(right, order, 1), 0).cumsum(1)
        helds = np.where(good, np.take_along_axis(held, order, 1), 0).cumsum(1)
        values = np.where(good, state.f1(rights, helds), 0)
        best = values.argmax(1)
        return values[np.arange(len(values)), best], best + 1, order

    def _grown(self, state: _State, value: float, clause: Clause) -> tuple[float, Clause]:
        """The clause with one more concept or a set for its other key, where that pays."""
        region, hit = self._region(state, clause)
        if not 0 < len(region) <= self.limits.region:
            return value, clause
        inside = state.rest[hit]
        options = [(value, clause)]
        values = state.f1(self._sum(inside), self._sum(region)) - self.limits.part_gain
        column = int(values.argmax())
        options.append((float(values[column]), clause._replace(concepts=(*clause.concepts, *self._concepts(column)))))
        for key, empty in ((0, not clause.tokens), (1, not clause.previous)):
            if empty and len(inside):
                options.append(self._other_set(state, clause, key, inside, region))
        return max(options, key=lambda option: option[0])

    def _other_set(
        self, state: _State, clause: Clause, key: int, inside: np.ndarray, region: np.ndarray
    ) -> tuple[float, Clause]:
        right = np.bincount(self._keys[key][inside], minlength=self._size)
        held = np.bincount(self._keys[key][region], minlength=self._size)
        tokens = np.flatnonzero(right)
        if key == 1:
            tokens = tokens[tokens > 0]
        if not len(tokens):
            return 0.0, clause
        values, sizes, order = self._best_sets(state, right[None, tokens], held[None, tokens])
        chosen = tuple(int(token) for token in tokens[order[0, : sizes[0]]])
        grown = self._of_key(key, chosen, clause.concepts)
        other = clause._replace(**{name: getattr(grown, name) for name in (("tokens", "previous")[key],)})
        return float(values[0]) - self.limits.part_gain, other

    def _of_key(self, key: int, tokens: tuple[int, ...], concepts: tuple[Concept, ...]) -> Clause:
        if key == 0:
            return Clause(tokens=tokens, concepts=concepts)
        return Clause(previous=tuple(token - 1 for token in tokens), concepts=concepts)

    def _concepts(self, column: int) -> tuple[Concept, ...]:
        count = len(self.evidence.names)
        return () if column == 0 else (Concept((column - 1) % count, column > count),)

    def _described(self, rows: Int64[np.ndarray, " rows"]) -> Float32[np.ndarray, "rows columns"]:
        """Ones, the concepts of tokens, and those of the tokens before."""
        here = self.evidence.unpacked(rows)
        before = self.evidence.before[rows]
        there = self.evidence.unpacked(np.where(before == NOTHING, 0, before))
        there[before == NOTHING] = 0
        return np.concatenate([np.ones((len(rows), 1), np.uint8), here, there], axis=1).astype(np.float32)

    def _sum(self, rows: Int64[np.ndarray, " rows"]) -> Float32[np.ndarray, " columns"]:
        total = np.zeros(self.columns, dtype=np.float32)
        for start in range(0, len(rows), CHUNK):
            total += self._described(rows[start : start + CHUNK]).sum(0)
        return total

    def _counts(
        self, rows: Int64[np.ndarray, " rows"], key: int, among: np.ndarray | None = None
    ) -> tuple[Int64[np.ndarray, " tokens"], Float32[np.ndarray, "columns tokens"]]:
        """How many of the rows have each token and each concept; only of the most frequent tokens, or of those `among`."""
        ids = self._keys[key][rows]
        if among is None:
            frequent = np.bincount(ids, minlength=self._size)
            frequent[:key] = 0  # outside of the context
            among = np.argsort(-frequent, kind="stable")[: self.limits.looked_at]
            among = np.sort(among[frequent[among] >= self.limits.fewest])
        place = np.searchsorted(among, ids)
        known = (
            (place < len(among)) & (among[np.minimum(place, max(len(among) - 1, 0))] == ids) if len(among) else ids < 0
        )
        rows, place = rows[known], place[known]
        total = np.zeros((len(among), self.columns), dtype=np.float32)
        for start in range(0, len(rows), CHUNK):
            some = slice(start, start + CHUNK)
            size = len(rows[some])
            onehot = sp.csr_matrix(
                (np.ones(size, np.float32), (place[some], np.arange(size))), shape=(len(among), size)
            )
            total += onehot @ self._described(rows[some])
        return among, total.T

    def _count_all(self, rows: Int64[np.ndarray, " rows"]) -> tuple[sp.csr_matrix, sp.csr_matrix]:
        """Token by column for both keys, sparse."""
        sums = [sp.csr_matrix((self._size, self.columns), dtype=np.float32) for _ in self._keys]
        for start in range(0, len(rows), CHUNK):
            some = rows[start : start + CHUNK]
            described = sp.csr_matrix(self._described(some))
            for number, key in enumerate(self._keys):
                onehot = sp.csr_matrix(
                    (np.ones(len(some), np.float32), (key[some], np.arange(len(some)))), shape=(self._size, len(some))
                )
                sums[number] = sums[number] + onehot @ described
        return sums[0], sums[1]


CHUNK = 8192
