"""An index of the spans at which values occur in a text, so that a predicate is called once for
each distinct value and not for each occurrence.
"""

from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

import numpy as np
from jaxtyping import Int64

Span = tuple[int, int]
"""Characters [start, end) of a text."""

Spans = Int64[np.ndarray, "spans 2"]

T = TypeVar("T", bound=Hashable)


class SpanIndex(Generic[T]):
    """Values and the spans at which they occur; `spans` [n, 2] are in the order given."""

    def __init__(self, occurrences: Iterable[tuple[T, Span]]) -> None:
        numbers: dict[T, int] = {}
        rows = [(numbers.setdefault(value, len(numbers)), *span) for value, span in occurrences]
        columns = np.array(rows, dtype=np.int64).reshape(-1, 3)
        self.values, self._number, self.spans = list(numbers), columns[:, 0], columns[:, 1:]

    def spans_of(self, predicate: Callable[[T], bool]) -> Spans:
        """Return the spans of the values for which `predicate` is true."""
        selected = np.array([predicate(value) for value in self.values], dtype=bool)
        return self.spans[selected[self._number]]
