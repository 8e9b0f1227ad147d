"""Flat lists of numbers as PostgreSQL's binary arrays, for COPY.

psycopg's own dumper goes through a list element by element, for lists of any shape and type; that took most of the time of
an ingest. Ours know that a column is a flat array of one type without nulls, and pack it in one call.
"""

from collections.abc import Sequence
from functools import cache
from struct import Struct

from psycopg.adapt import AdaptersMap, Dumper
from psycopg.postgres import types
from psycopg.pq import Format

_LETTERS = {"int2": "h", "int4": "i", "int8": "q", "float4": "f"}
"""Of `struct`, by PostgreSQL's name."""


class _FlatArray(Dumper):
    """Dumps a flat list; the subclasses name the type of its elements."""

    format = Format.BINARY
    element = ""

    def dump(self, obj: Sequence[float]) -> bytes:
        """Return one dimension from index 1, no nulls, and each element after its length in bytes."""
        whole, size, oid = _layout(self.element, len(obj))
        if not obj:
            return whole.pack(0, 0, oid)  # of no dimensions
        cells: list[float] = [size] * (2 * len(obj))
        cells[1::2] = obj
        return whole.pack(1, 0, oid, len(obj), 1, *cells)


@cache
def _layout(element: str, length: int) -> tuple[Struct, int, int]:
    """How an array of so many elements is packed, the bytes of an element, and its type's number."""
    letter = _LETTERS[element]
    shape = f">iii{'ii' if length else ''}{('i' + letter) * length}"
    return Struct(shape), Struct(f">{letter}").size, types[element].oid


DUMPERS: dict[str, type[_FlatArray]] = {
    element: type(f"{element}Array", (_FlatArray,), {"element": element, "oid": types[element].array_oid})
    for element in _LETTERS
}
"""By the name of the element's type."""


def register(adapters: AdaptersMap) -> None:
    """Use these dumpers wherever a column's type is given (`Copy.set_types`), and only there."""
    for dumper in DUMPERS.values():
        adapters.register_dumper(None, dumper)
