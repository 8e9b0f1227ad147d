"""Documents in CSV and TSV files: one a row, under a header that names the columns."""

import csv
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from features.records import InvalidInput
from workers.pipeline.data.text_lines import text_lines

SEPARATORS = (",", ";", "\t", "|")
csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # a document is longer than the default, 128 KiB


def load_delimited(
    file: Path, name: str, text_column: str, separators: Iterable[str]
) -> Iterator[tuple[int, str, str]]:
    """Yield (row number, text, place) of every row; row 1 is the first after the header.

    The separator is the first one with which the header has the column. Raises `InvalidInput` for
    a header without it or with two of its name, and for a row of another number of cells.
    """
    texts = (line.text for line in text_lines(file, name))
    header = next(texts, "")
    separator = _separator(header, text_column, separators)
    rows = csv.reader(_chain(header, texts), delimiter=separator, strict=True)
    names = _header(rows, name)
    if names.count(text_column) != 1:
        there = ", ".join(names) or "no columns"
        problem = "has two columns" if text_column in names else "has no column"
        raise InvalidInput("text_column", f"{name} {problem} {text_column!r}; it has {there}.")
    column = names.index(text_column)
    for number, row in enumerate(filter(None, _rows(rows, name)), 1):
        if len(row) != len(names):
            raise InvalidInput(
                "source",
                f"{name}, row {number:,} (line {rows.line_num:,}) has {len(row)} cells; "
                f"the header has {len(names)}.",
            )
        yield number, row[column], f"Column {text_column!r} of {name}, row {number:,},"


load_csv = partial(load_delimited, separators=SEPARATORS)
load_tsv = partial(load_delimited, separators=("\t",))


def _separator(header: str, text_column: str, separators: Iterable[str]) -> str:
    candidates = list(separators)
    for separator in candidates:
        cells = (cell.strip().strip('"') for cell in header.split(separator))
        if text_column in cells and separator in header:
            return separator
    return candidates[0]


def _chain(header: str, lines: Iterator[str]) -> Iterator[str]:
    yield header
    yield from lines


def _header(rows: Iterator[list[str]], name: str) -> list[str]:
    return next(_rows(rows, name), [])


def _rows(rows: Iterator[list[str]], name: str) -> Iterator[list[str]]:
    try:
        yield from rows
    except csv.Error as error:
        line = getattr(rows, "line_num", 0)
        raise InvalidInput("source", f"{name}, line {line:,} is not CSV: {error}.") from error
