"""Counting the concepts of chosen tokens.

A column is something that can be said of a token: column 0 of every one, then the concepts of the
token itself, then those of the token before it.
"""

import numba
import numpy as np
import scipy.sparse as sp
from jaxtyping import Float32, Int16, Int32, Int64

from workers.pipeline.labelling.evidence import NOTHING, Evidence

CHUNK = 1 << 16
Rows = Int64[np.ndarray, " rows"]


class Columns:
    """The columns of each token of the evidence, as lists of the concepts that it has."""

    def __init__(self, evidence: Evidence) -> None:
        self.concepts = len(evidence.names)
        self.size = 1 + 2 * self.concepts
        self._before = evidence.before
        parts, counts = [], []
        for start in range(0, len(evidence.ids), CHUNK):
            some = np.arange(start, min(start + CHUNK, len(evidence.ids)))
            row, concept = evidence.unpacked(some).nonzero()
            parts.append(concept.astype(np.int16))
            counts.append(np.bincount(row, minlength=len(some)))
        self._begin = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
        self._concept = np.concatenate(parts)

    def sums(self, rows: Rows) -> Float32[np.ndarray, " columns"]:
        """How many of the rows have each column."""
        return self.counts(rows, np.zeros(len(rows), dtype=np.int64), 1)[:, 0]

    def counts(
        self, rows: Rows, place: Int64[np.ndarray, " rows"], size: int
    ) -> Float32[np.ndarray, "columns size"]:
        """How many of the rows of each `place`, from 0 to before `size`, have each column."""
        found = np.zeros((self.size, size), dtype=np.float32)
        _count(rows, place, self._before, self._begin, self._concept, self.concepts, found)
        return found

    def by_key(self, rows: Rows, key: Int64[np.ndarray, " tokens"], size: int) -> sp.csr_matrix:
        """How many of the rows with each key, from 0 to before `size`, have each column; sparse, as
        most have none.
        """
        one = np.ones(len(self._concept), dtype=np.float32)
        here = sp.csr_matrix(
            (one, self._concept, self._begin), shape=(len(self._begin) - 1, self.concepts)
        )
        chosen = sp.csr_matrix(
            (np.ones(len(rows), np.float32), (key[rows], rows)), shape=(size, here.shape[0])
        )
        inside = rows[self._before[rows] != NOTHING]
        earlier = sp.csr_matrix(
            (np.ones(len(inside), np.float32), (key[inside], self._before[inside])),
            shape=(size, here.shape[0]),
        )
        every = sp.csr_matrix(np.bincount(key[rows], minlength=size).astype(np.float32)[:, None])
        return sp.hstack([every, chosen @ here, earlier @ here], format="csr")


@numba.njit(nogil=True, cache=True)
def _count(
    rows: Int64[np.ndarray, " rows"],
    place: Int64[np.ndarray, " rows"],
    before: Int32[np.ndarray, " tokens"],
    begin: Int64[np.ndarray, " tokens+1"],
    concept: Int16[np.ndarray, " flags"],
    concepts: int,
    found: Float32[np.ndarray, "columns size"],
) -> None:
    for index in range(len(rows)):
        row, at = rows[index], place[index]
        found[0, at] += 1
        for k in range(begin[row], begin[row + 1]):
            found[1 + concept[k], at] += 1
        earlier = before[row]
        if earlier >= 0:
            for k in range(begin[earlier], begin[earlier + 1]):
                found[1 + concepts + concept[k], at] += 1
