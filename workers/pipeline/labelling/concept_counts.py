"""Count the concepts of selected tokens.

A column is a property of a token: column 0 is true of every token, then come the concepts of the
token itself, then those of the token before it.
"""

import numba
import numpy as np
import scipy.sparse as sp
from jaxtyping import Float32, Int16, Int32, Int64

from workers.pipeline.labelling.evidence import NONE, Evidence

CHUNK = 1 << 16
Rows = Int64[np.ndarray, " rows"]


class ConceptCounts:
    """The concepts of each token of the evidence as lists of their numbers, for counting."""

    def __init__(self, evidence: Evidence) -> None:
        self.concepts = len(evidence.names)
        self.size = 1 + 2 * self.concepts
        self._before = evidence.before
        parts, counts = [], []
        for start in range(0, len(evidence.ids), CHUNK):
            rows = np.arange(start, min(start + CHUNK, len(evidence.ids)))
            row, concept = evidence.concepts_of(rows).nonzero()
            parts.append(concept.astype(np.int16))
            counts.append(np.bincount(row, minlength=len(rows)))
        self._begin = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
        self._concept = np.concatenate(parts)

    def column_counts(self, rows: Rows) -> Float32[np.ndarray, " columns"]:
        """Return how many of the tokens at `rows` have each column."""
        return self.counts_by_group(rows, np.zeros(len(rows), dtype=np.int64), 1)[:, 0]

    def counts_by_group(
        self, rows: Rows, group: Int64[np.ndarray, " rows"], groups: int
    ) -> Float32[np.ndarray, "columns groups"]:
        """Return how many of the tokens at `rows` have each column, by the `group` of each row,
        from 0 to `groups` - 1.
        """
        counts = np.zeros((self.size, groups), dtype=np.float32)
        _count(rows, group, self._before, self._begin, self._concept, self.concepts, counts)
        return counts

    def counts_by_token(
        self, rows: Rows, key: Int64[np.ndarray, " tokens"], size: int
    ) -> sp.csr_matrix:
        """Return the counts [size, columns] of the tokens at `rows` by their `key`, from 0 to
        `size` - 1; sparse, because most are 0.
        """
        tokens = len(self._begin) - 1
        ones = np.ones(len(self._concept), dtype=np.float32)
        concepts = sp.csr_matrix((ones, self._concept, self._begin), shape=(tokens, self.concepts))
        inside = rows[self._before[rows] != NONE]
        own = _indicator(key[rows], rows, (size, tokens))
        previous = _indicator(key[inside], self._before[inside], (size, tokens))
        totals = np.bincount(key[rows], minlength=size).astype(np.float32)
        return sp.hstack(
            [sp.csr_matrix(totals[:, None]), own @ concepts, previous @ concepts], format="csr"
        )


def _indicator(row: np.ndarray, column: np.ndarray, shape: tuple[int, int]) -> sp.csr_matrix:
    return sp.csr_matrix((np.ones(len(row), np.float32), (row, column)), shape=shape)


@numba.njit(nogil=True, cache=True)
def _count(
    rows: Int64[np.ndarray, " rows"],
    group: Int64[np.ndarray, " rows"],
    before: Int32[np.ndarray, " tokens"],
    begin: Int64[np.ndarray, " tokens+1"],
    concept: Int16[np.ndarray, " flags"],
    concepts: int,
    counts: Float32[np.ndarray, "columns groups"],
) -> None:
    for index in range(len(rows)):
        row, column = rows[index], group[index]
        counts[0, column] += 1
        for k in range(begin[row], begin[row + 1]):
            counts[1 + concept[k], column] += 1
        previous = before[row]
        if previous >= 0:
            for k in range(begin[previous], begin[previous + 1]):
                counts[1 + concepts + concept[k], column] += 1
