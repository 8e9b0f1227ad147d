"""Concepts of a token's place among those that the model read with it, told by the token ids of its context alone."""

from collections.abc import Callable, Sequence
from typing import NamedTuple


class ContextConcept(NamedTuple):
    """Something that is true of some positions of a context; `words` as in `Concept`."""

    name: str
    words: str
    find: Callable[[Sequence[int]], list[bool]]


def _within(first: int, last: int) -> Callable[[Sequence[int]], list[bool]]:
    return lambda ids: [first <= place <= last for place in range(len(ids))]


def _repeated(length: int) -> Callable[[Sequence[int]], list[bool]]:
    """Where the last `length` tokens stood in this order before."""

    def find(ids: Sequence[int]) -> list[bool]:
        seen: set[tuple[int, ...]] = set()
        found = []
        for place in range(len(ids)):
            run = tuple(ids[max(place - length + 1, 0) : place + 1])
            found.append(len(run) == length and run in seen)
            seen.add(run)
        return found

    return find


def _just(ids: Sequence[int]) -> list[bool]:
    return [place > 0 and ids[place] == ids[place - 1] for place in range(len(ids))]


CONTEXTS: tuple[ContextConcept, ...] = (
    ContextConcept("context.first", "at the first three positions of a context", _within(0, 2)),
    ContextConcept("context.early", "at the first 16 positions of a context", _within(0, 15)),
    ContextConcept("context.late", "beyond the 64th position of a context", _within(64, 1 << 30)),
    ContextConcept("context.repeated", "a token that stood in this context before", _repeated(1)),
    ContextConcept("context.pair", "a token that came after the same one before", _repeated(2)),
    ContextConcept("context.triple", "a token that came after the same two before", _repeated(3)),
    ContextConcept("context.doubled", "a token the same as the one before", _just),
)
