"""Flat lists of numbers as PostgreSQL's binary arrays, for COPY.

psycopg's own dumper goes through a list element by element, for lists of any shape and type; that
took most of the time of an ingest. Ours know that a column is a flat array of one type without
nulls, and pack it in one call; `packed` does so for a whole column of short lists at once.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain
from struct import Struct

import numpy as np
from psycopg.adapt import AdaptersMap, Dumper
from psycopg.postgres import types
from psycopg.pq import Format

_LETTERS = {"int2": "h", "int4": "i", "int8": "q", "float4": "f"}
"""Of `struct`, by PostgreSQL's name."""


class _FlatArray(Dumper):
    """Dumps a flat list; the subclasses name the type of its elements."""

    format = Format.BINARY
    element = ""

    def dump(self, obj: Sequence[float] | bytes) -> bytes:
        """Return one dimension from index 1, no nulls, and each element after its length in bytes;
        what is `packed` as it is.
        """
        if isinstance(obj, bytes):
            return obj
        whole, size, oid = _layout(self.element, len(obj))
        if not obj:
            return whole.pack(0, 0, oid)  # of no dimensions
        cells: list[float] = [size] * (2 * len(obj))
        cells[1::2] = obj
        return whole.pack(1, 0, oid, len(obj), 1, *cells)


def packed(element: str, lists: Sequence[Sequence[float]]) -> Iterator[bytes]:
    """Each of the lists as its dumper would have it. Raises `OverflowError` where a number does not
    fit.
    """
    size = Struct(f">{_LETTERS[element]}").size
    ends = np.cumsum([len(one) for one in lists], dtype=np.int64).tolist()
    plain = np.fromiter(chain.from_iterable(lists), f"{_LETTERS[element]}", ends[-1] if ends else 0)
    cells = np.empty(len(plain), [("size", ">i4"), ("value", f">{_LETTERS[element]}")])
    cells["size"], cells["value"] = size, plain
    whole, begin = cells.tobytes(), 0
    for one, end in zip(lists, ends, strict=True):
        yield _head(element, len(one)) + whole[begin * (4 + size) : end * (4 + size)]
        begin = end


@cache
def _head(element: str, length: int) -> bytes:
    """What is before the elements."""
    shape = (1, 0, types[element].oid, length, 1) if length else (0, 0, types[element].oid)
    return Struct(f">{len(shape)}i").pack(*shape)


@cache
def _layout(element: str, length: int) -> tuple[Struct, int, int]:
    """How an array of so many elements is packed, the bytes of an element, and its
    type's number.
    """
    letter = _LETTERS[element]
    shape = f">iii{'ii' if length else ''}{('i' + letter) * length}"
    return Struct(shape), Struct(f">{letter}").size, types[element].oid


DUMPERS: dict[str, type[_FlatArray]] = {
    element: type(
        f"{element}Array", (_FlatArray,), {"element": element, "oid": types[element].array_oid}
    )
    for element in _LETTERS
}
"""By the name of the element's type."""


def register(adapters: AdaptersMap) -> None:
    """Use these dumpers wherever a column's type is given (`Copy.set_types`), and only there."""
    for dumper in DUMPERS.values():
        adapters.register_dumper(None, dumper)
