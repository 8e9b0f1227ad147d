"""What stands at many places of a text, looked at once for each thing instead of once for each
place.
"""

from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

import numpy as np
from jaxtyping import Int64

Span = tuple[int, int]
"""Characters [start, end) of a text."""

Spans = Int64[np.ndarray, "spans 2"]

T = TypeVar("T", bound=Hashable)


class Grouped(Generic[T]):
    """Things and the spans at which they stand, equal ones together."""

    def __init__(self, places: Iterable[tuple[T, Span]]) -> None:
        numbers: dict[T, int] = {}
        found = [(numbers.setdefault(thing, len(numbers)), *span) for thing, span in places]
        columns = np.array(found, dtype=np.int64).reshape(-1, 3)
        self.things, self._number, self.spans = list(numbers), columns[:, 0], columns[:, 1:]

    def where(self, wanted: Callable[[T], bool]) -> Spans:
        """The spans of the things that are wanted."""
        chosen = np.array([wanted(thing) for thing in self.things], dtype=bool)
        return self.spans[chosen[self._number]]
