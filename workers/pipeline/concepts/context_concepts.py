"""Concepts of a token's position among those of its context, which follow from the token ids of the
context alone.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64

Ids = Int64[np.ndarray, " pos"]
Flags = Bool[np.ndarray, " pos"]


class ContextConcept(NamedTuple):
    """A property of some positions of a context; fields as in `Concept`."""

    name: str
    words: str
    find: Callable[[Ids], Flags]


def context_flags(token_ids: Sequence[int]) -> Bool[np.ndarray, "pos concepts"]:
    """Return which of `CONTEXTS` each position of a context has."""
    ids = np.asarray(token_ids, dtype=np.int64)
    return np.stack([concept.find(ids) for concept in CONTEXTS], axis=1)


def _in_range(first: int, last: int) -> Callable[[Ids], Flags]:
    return lambda ids: (np.arange(len(ids)) >= first) & (np.arange(len(ids)) <= last)


def _repeats_ngram(length: int) -> Callable[[Ids], Flags]:
    """Match tokens that end an n-gram of `length` tokens which occurred before in the context."""

    def find_repeats(ids: Ids) -> Flags:
        flags = np.zeros(len(ids), dtype=bool)
        if len(ids) > length:
            ngrams = np.lib.stride_tricks.sliding_window_view(ids, length)
            _, first, number = np.unique(ngrams, axis=0, return_index=True, return_inverse=True)
            flags[length - 1 :] = first[number.ravel()] < np.arange(len(ngrams))
        return flags

    return find_repeats


def _equals_previous(ids: Ids) -> Flags:
    return np.concatenate([[False], ids[1:] == ids[:-1]])


CONTEXTS: tuple[ContextConcept, ...] = (
    ContextConcept("context.first", "at the first three positions of a context", _in_range(0, 2)),
    ContextConcept("context.early", "at the first 16 positions of a context", _in_range(0, 15)),
    ContextConcept("context.late", "beyond the 64th position of a context", _in_range(64, 1 << 30)),
    ContextConcept("context.repeated", "a token seen earlier in the context", _repeats_ngram(1)),
    ContextConcept("context.pair", "the end of a repeated pair of tokens", _repeats_ngram(2)),
    ContextConcept("context.triple", "the end of three repeated tokens", _repeats_ngram(3)),
    ContextConcept("context.doubled", "a token equal to the one before", _equals_previous),
)
