"""Search for the rule that predicts best, on training tokens, where a feature fires strongly.

Clauses are found one after another (a beam search). Each starts from the best token sets, alone or
with one concept:

    for every concept c (of this token or the one before), or none, and every key (this token, the
    one before, the one before that):
        sort the tokens by falling precision among those with c;
        the set is the prefix of this order with the highest F1

No other set is better, because F1 depends only on how many tokens a set matches, rightly and
wrongly. The best few starts get one more concept, or a set for another key, if that gains enough.
What the clause matches is then removed, and the next clause is searched for the rest.

Rules must hold on other documents. A token is therefore in a set only if it is right in two
documents or more; one of its right matches is not counted, as if it had been left out; the
precision of rare tokens is reduced (additive smoothing); and every part of a rule must gain F1.
"""

import copy
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int64

from workers.pipeline.labelling.concept_counts import ConceptCounts
from workers.pipeline.labelling.evidence import NONE
from workers.pipeline.labelling.rules import KEYS, Clause, Rule, RuleConcept, TokenIndex

Rows = Int64[np.ndarray, " rows"]
ScoredClause = tuple[float, Clause]
"""The F1 of the rule with this clause, less what its parts must gain, and the clause."""


class SearchLimits(NamedTuple):
    """How long rules may be, and how much each part must gain.

    A rule has up to `clauses` clauses with `tokens` tokens in a set; the next clause must gain
    `clause_gain` F1 on training tokens, and each further part of a clause `part_gain`. A token of a
    set is right on at least `fewest` training tokens, in at least `documents` documents, and
    `doubt` of these matches are not counted; `smooth` is added to its matches for its precision.
    `beam` starts are extended, if they match at most `region` tokens. Only the `looked_at` most
    frequent tokens are considered for a set.
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


LIMITS = SearchLimits()


class _State(NamedTuple):
    """What the clauses so far cover: the number of positives in total, the `uncovered` positives,
    the tokens matched so far, and how many of these are right.
    """

    total: int
    uncovered: Rows
    matched: Rows
    right: int

    def f1_with(
        self, right: Float32[np.ndarray, "*any"], matched: Float32[np.ndarray, "*any"]
    ) -> Float32[np.ndarray, "*any"]:
        """Return the F1 with a clause that adds this many right and matched tokens."""
        return 2 * (self.right + right) / (self.total + len(self.matched) + matched)

    @property
    def f1(self) -> float:
        return 2 * self.right / (self.total + len(self.matched))


class RuleSearch:
    """Searches rules on the training tokens of the evidence.

    Concepts are counted once for all features, by token id, for each key. A token of a key is its
    id - `NONE`, so that 0 is the outside of the context.
    """

    def __init__(self, index: TokenIndex, limits: SearchLimits = LIMITS) -> None:
        self.limits, self._index = limits, index
        self.evidence = index.evidence
        self.train = ~index.evidence.held
        self._counts = ConceptCounts(index.evidence)
        self._keys = [key.astype(np.int64) - NONE for key in index.keys]
        self._size = int(max(key.max() for key in self._keys)) + 1
        rows = np.flatnonzero(self.train)
        self._tables = [self._counts.counts_by_token(rows, key, self._size) for key in self._keys]
        self._totals = np.asarray(self._tables[0].sum(0)).ravel()
        self._mask = np.zeros(len(self.train), dtype=bool)

    def with_limits(self, limits: SearchLimits) -> "RuleSearch":
        """Return a search with other limits that shares what was counted."""
        search = copy.copy(self)
        search.limits = limits
        return search

    def best_rule(self, feature: int) -> tuple[Rule, float]:
        """Return the rule of a feature and its F1 on training tokens.

        The rule is empty, and F1 0, if the feature fires strongly on too few training tokens.
        """
        rows = self.evidence.strong_rows(feature).astype(np.int64)
        positives = rows[self.train[rows]]
        if len(positives) < self.limits.fewest:
            return (), 0.0
        state = _State(len(positives), positives, positives[:0], 0)
        clauses: list[Clause] = []
        best_f1 = 0.0
        while len(clauses) < self.limits.clauses and len(state.uncovered):
            next_state, clause = self._add_clause(state, self._best_clause(state))
            if next_state.f1 < best_f1 + self.limits.clause_gain:
                break
            state, best_f1 = next_state, next_state.f1
            clauses.append(clause)
        return tuple(clauses), best_f1

    def _add_clause(self, state: _State, clause: Clause) -> tuple[_State, Clause]:
        region, hit = self._region(state, clause)
        right = int(hit.sum())
        matched = np.union1d(state.matched, region)
        next_state = _State(state.total, state.uncovered[~hit], matched, state.right + right)
        return next_state, clause._replace(precision=right / max(len(region), 1))

    def _region(self, state: _State, clause: Clause) -> tuple[Rows, Bool[np.ndarray, " rows"]]:
        """Return the training tokens that the clause matches and no clause before it, and which of
        the uncovered positives are among them.
        """
        rows = self._index.matching_rows(clause)
        rows = rows[self.train[rows]]
        self._mask[rows] = True
        self._mask[state.matched] = False
        region, hit = rows[self._mask[rows]], self._mask[state.uncovered]
        self._mask[rows] = False
        return region, hit

    def _best_clause(self, state: _State) -> Clause:
        starts = [self._best_concept(state)]
        for key in range(len(self._keys)):
            starts += self._best_token_sets(state, key)
        starts.sort(key=lambda start: -start[0])
        extended = [self._extend(state, *start) for start in starts[: self.limits.beam]]
        return max(extended, key=lambda option: option[0])[1]

    def _best_concept(self, state: _State) -> ScoredClause:
        """Return the best clause of one concept alone."""
        right = self._counts.column_counts(state.uncovered)
        matched = self._totals - self._counts.column_counts(state.matched)
        values = state.f1_with(right, matched)
        values[0] = 0  # every token
        column = int(values.argmax())
        return float(values[column]), Clause(concepts=self._concepts(column))

    def _best_token_sets(self, state: _State, key: int) -> list[ScoredClause]:
        """Return the best token sets of a key, alone or with one concept."""
        tokens = self._frequent_tokens(state.uncovered, key)
        if not len(tokens):
            return []
        right = self._token_counts(state.uncovered, key, tokens)
        matched = self._tables[key][tokens].toarray().T
        if len(state.matched):
            matched = matched - self._token_counts(state.matched, key, tokens)
        values, sizes, order = self._best_prefixes(state, right, matched)
        values = values - np.where(np.arange(len(values)) > 0, self.limits.part_gain, 0)
        sets = []
        for column in np.argsort(-values, kind="stable")[: self.limits.beam].tolist():
            selected = tokens[order[column, : sizes[column]]]
            clause = Clause(concepts=self._concepts(column))
            sets.append((float(values[column]), _with_tokens(clause, key, selected)))
        return sets

    def _best_prefixes(
        self, state: _State, right: np.ndarray, matched: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return, for each row of counts [rows, tokens], the best F1 of a token set, the size of
        the set, and the order of the tokens of which it is a prefix.
        """
        limits = self.limits
        precision = np.where(
            right >= limits.fewest, right / np.maximum(matched + limits.smooth, 1), 0
        )
        candidates = np.argsort(-right * precision, axis=1, kind="stable")[:, : limits.tokens]
        by_precision = np.argsort(
            -np.take_along_axis(precision, candidates, 1), axis=1, kind="stable"
        )
        order = np.take_along_axis(candidates, by_precision, 1)
        allowed = np.take_along_axis(precision, order, 1) > 0
        counted = np.take_along_axis(right, order, 1) - limits.doubt
        rights = np.where(allowed, counted, 0).cumsum(1)
        matches = np.where(allowed, np.take_along_axis(matched, order, 1), 0).cumsum(1)
        values = np.where(allowed, state.f1_with(rights, matches), 0)
        best = values.argmax(1)
        return values[np.arange(len(values)), best], best + 1, order

    def _extend(self, state: _State, value: float, clause: Clause) -> ScoredClause:
        """Return the clause with one more concept, or a token set for another key, if that gains
        enough.
        """
        region, hit = self._region(state, clause)
        if not 0 < len(region) <= self.limits.region:
            return value, clause
        inside = state.uncovered[hit]
        options = [(value, clause), self._add_concept(state, clause, inside, region)]
        for key, name in enumerate(KEYS):
            if not getattr(clause, name) and len(inside):
                options.append(self._add_token_set(state, clause, key, inside, region))
        return max(options, key=lambda option: option[0])

    def _add_concept(
        self, state: _State, clause: Clause, inside: Rows, region: Rows
    ) -> ScoredClause:
        right, matched = self._counts.column_counts(inside), self._counts.column_counts(region)
        values = state.f1_with(right, matched) - self.limits.part_gain
        column = int(values.argmax())
        concepts = (*clause.concepts, *self._concepts(column))
        return float(values[column]), clause._replace(concepts=concepts)

    def _add_token_set(
        self, state: _State, clause: Clause, key: int, inside: Rows, region: Rows
    ) -> ScoredClause:
        right = np.bincount(self._keys[key][inside], minlength=self._size)
        matched = np.bincount(self._keys[key][region], minlength=self._size)
        right[0] = 0
        tokens = self._in_enough_documents(np.flatnonzero(right), inside, key)
        if not len(tokens):
            return 0.0, clause
        values, sizes, order = self._best_prefixes(
            state, right[None, tokens], matched[None, tokens]
        )
        selected = tokens[order[0, : sizes[0]]]
        return float(values[0]) - self.limits.part_gain, _with_tokens(clause, key, selected)

    def _concepts(self, column: int) -> tuple[RuleConcept, ...]:
        """Return the concept of a column of `ConceptCounts`; none for column 0."""
        count = len(self.evidence.names)
        return () if column == 0 else (RuleConcept((column - 1) % count, column > count),)

    def _frequent_tokens(self, rows: Rows, key: int) -> Int64[np.ndarray, " tokens"]:
        """Return the most frequent tokens of a key at `rows`, sorted."""
        count = np.bincount(self._keys[key][rows], minlength=self._size)
        count[0] = 0
        tokens = np.argsort(-count, kind="stable")[: self.limits.looked_at]
        frequent = np.sort(tokens[count[tokens] >= self.limits.fewest])
        return self._in_enough_documents(frequent, rows, key)

    def _in_enough_documents(
        self, tokens: Int64[np.ndarray, " tokens"], rows: Rows, key: int
    ) -> Int64[np.ndarray, " tokens"]:
        """Return the tokens that occur at `rows` of enough documents."""
        documents = self.evidence.document[self.evidence.context[rows]]
        pairs = np.unique(self._keys[key][rows] << 32 | documents)
        document_counts = np.bincount(pairs >> 32, minlength=self._size)
        return tokens[document_counts[tokens] >= self.limits.documents]

    def _token_counts(
        self, rows: Rows, key: int, tokens: Int64[np.ndarray, " tokens"]
    ) -> Float32[np.ndarray, "columns tokens"]:
        """Return how many of `rows` have each column, by each of `tokens`."""
        number = np.full(self._size, -1, dtype=np.int64)
        number[tokens] = np.arange(len(tokens))
        group = number[self._keys[key][rows]]
        return self._counts.counts_by_group(rows[group >= 0], group[group >= 0], len(tokens))


def _with_tokens(clause: Clause, key: int, tokens: np.ndarray) -> Clause:
    """Return the clause with a token set for a key. `tokens` count from the outside, 0."""
    fields: dict[str, Any] = {KEYS[key]: tuple((tokens + NONE).tolist())}
    return clause._replace(**fields)
