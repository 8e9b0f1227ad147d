"""Concepts of a token's place among those that the model read with it, told by the token ids of its
context alone.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64

Ids = Int64[np.ndarray, " pos"]
Flags = Bool[np.ndarray, " pos"]


class ContextConcept(NamedTuple):
    """Something that is true of some positions of a context; `words` as in `Concept`."""

    name: str
    words: str
    find: Callable[[Ids], Flags]


def flags(token_ids: Sequence[int]) -> Bool[np.ndarray, "pos concepts"]:
    """Which of `CONTEXTS` hold at each position of a context."""
    ids = np.asarray(token_ids, dtype=np.int64)
    return np.stack([concept.find(ids) for concept in CONTEXTS], axis=1)


def _within(first: int, last: int) -> Callable[[Ids], Flags]:
    return lambda ids: (np.arange(len(ids)) >= first) & (np.arange(len(ids)) <= last)


def _repeated(length: int) -> Callable[[Ids], Flags]:
    """Where the last `length` tokens stood in this order before."""

    def find(ids: Ids) -> Flags:
        found = np.zeros(len(ids), dtype=bool)
        if len(ids) > length:
            runs = np.lib.stride_tricks.sliding_window_view(ids, length)
            _, first, which = np.unique(runs, axis=0, return_index=True, return_inverse=True)
            found[length - 1 :] = first[which.ravel()] < np.arange(len(runs))
        return found

    return find


def _just(ids: Ids) -> Flags:
    return np.concatenate([[False], ids[1:] == ids[:-1]])


CONTEXTS: tuple[ContextConcept, ...] = (
    ContextConcept("context.first", "at the first three positions of a context", _within(0, 2)),
    ContextConcept("context.early", "at the first 16 positions of a context", _within(0, 15)),
    ContextConcept("context.late", "beyond the 64th position of a context", _within(64, 1 << 30)),
    ContextConcept("context.repeated", "a token that stood in this context before", _repeated(1)),
    ContextConcept("context.pair", "a token that came after the same one before", _repeated(2)),
    ContextConcept("context.triple", "a token that came after the same two before", _repeated(3)),
    ContextConcept("context.doubled", "a token the same as the one before", _just),
)
