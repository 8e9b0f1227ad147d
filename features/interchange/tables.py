"""Rows in and out of files: CSV, JSON lines and Parquet. Nothing here knows what the rows mean.

Whatever is wrong with a file, `parse_table` raises `InvalidInput("file")` with the reason.
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from features.records import InvalidInput

MAX_ROWS = 50_000
MAX_BYTES = 20 * 2**20
UTF_8_MARK = b"\xef\xbb\xbf"
MARKS = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
"""Byte-order marks of spreadsheets' “Unicode text” with their encoding."""
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
"""Separators of CSV files: spreadsheets write semicolons where the comma is the decimal mark."""
MAX_UNPACKED = 200 * 2**20
"""Bytes that a Parquet file may take in memory: a small file can hold a very large table."""

FORMATS = {
    "csv": ("CSV", "text/csv; charset=utf-8"),
    "jsonl": ("JSON lines", "application/x-ndjson"),
    "parquet": ("Parquet", "application/vnd.apache.parquet"),
}


def format_of(name: str) -> str:
    """The format that a file's name ends with. Raises `InvalidInput`."""
    end = name.rpartition(".")[2].lower()
    known = {
        "csv": "csv",
        "tsv": "csv",
        "jsonl": "jsonl",
        "ndjson": "jsonl",
        "parquet": "parquet",
    }
    if end not in known:
        raise InvalidInput(
            "file", "The name must end with .csv, .jsonl or .parquet, which says how to read it."
        )
    return known[end]


def fitting(name: str, size: int) -> str:
    """The format of a file of `size` bytes that is to be read. Raises `InvalidInput`, also where it
    is too large.
    """
    if size > MAX_BYTES:
        raise InvalidInput("file", f"At most {MAX_BYTES // 2**20} MiB; send it in parts.")
    return format_of(name)


def parse_table(data: bytes, kind: str) -> list[Mapping[str, Any]]:
    """The rows of a file, in its order; row 1 is the first after the header. Raises
    `InvalidInput`.
    """
    if len(data) > MAX_BYTES:
        raise InvalidInput("file", f"At most {MAX_BYTES // 2**20} MiB; send it in parts.")
    rows = []
    for row in READERS[kind](data):
        rows.append(row)
        if len(rows) > MAX_ROWS:
            raise InvalidInput("file", f"At most {MAX_ROWS:,} rows; send it in parts.")
    if not rows:
        raise InvalidInput("file", "The file has no rows.")
    return rows


def write(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], kind: str) -> bytes:
    """A file of those columns. In CSV lists are JSON; a text that a spreadsheet would run as a
    formula gets a ' before it.
    """
    return WRITERS[kind](rows, columns)


def _text(data: bytes) -> str:
    """The text of a file: UTF-8, or what its byte-order mark says, without the mark."""
    encoding = next((code for mark, code in MARKS if data.startswith(mark)), "utf-8-sig")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        name = "UTF-8" if encoding == "utf-8-sig" else encoding.upper()
        mark = len(UTF_8_MARK) if data.startswith(UTF_8_MARK) else 0
        raise InvalidInput(
            "file", f"The file must be {name}; byte {error.start + mark:,} is not."
        ) from None


def _from_csv(data: bytes) -> Iterator[Mapping[str, Any]]:
    text = _text(data)
    separator = _separator(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        names = next(reader, [])
        if len(set(names)) < len(names):
            raise InvalidInput("file", "Two columns have the same name.")
        for number, cells in enumerate(filter(None, reader), 1):
            if len(cells) != len(names):
                raise InvalidInput(
                    "file",
                    f"Row {number} has {len(cells)} cells, the header {len(names)}; they are "
                    f"separated by {SEPARATORS[separator]}.",
                )
            yield dict(zip(names, map(_unquoted, cells), strict=True))
    except csv.Error as error:
        raise InvalidInput("file", f"Line {reader.line_num:,} is no CSV: {error}.") from None


def _separator(text: str) -> str:
    """The separator that occurs most in the header, outside quotes; a comma where none does."""
    header = re.sub('"[^"]*"', "", text.lstrip("\r\n").partition("\n")[0])
    return max(SEPARATORS, key=header.count)


def _from_jsonl(data: bytes) -> Iterator[Mapping[str, Any]]:
    lines = io.StringIO(_text(data))  # not splitlines: U+2028 may stand in a text of JSON
    for number, line in enumerate(filter(str.strip, lines), 1):
        try:
            row = json.loads(line, parse_constant=_refuse)
        except (ValueError, RecursionError):
            raise InvalidInput("file", f"Row {number} is no JSON.") from None
        if not isinstance(row, dict):
            raise InvalidInput("file", f"Row {number} is no JSON object.")
        yield row


def _from_parquet(data: bytes) -> Iterator[Mapping[str, Any]]:
    from pyarrow import parquet  # 90 ms to import, and seldom needed

    try:
        file = parquet.ParquetFile(io.BytesIO(data))
        groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
        if (
            file.metadata.num_rows > MAX_ROWS
            or sum(group.total_byte_size for group in groups) > MAX_UNPACKED
        ):
            raise InvalidInput(
                "file",
                f"At most {MAX_ROWS:,} rows and {MAX_UNPACKED // 2**20} MiB unpacked; send it "
                "in parts.",
            )
        size = 0
        for batch in file.iter_batches(
            batch_size=8
        ):  # what is packed says little of its size: one cell can be repeated
            size += batch.nbytes
            if size > MAX_UNPACKED:
                raise InvalidInput(
                    "file", f"At most {MAX_UNPACKED // 2**20} MiB unpacked; send it in parts."
                )
            yield from batch.to_pylist()
    except InvalidInput:
        raise
    except Exception as error:  # of Arrow: a damaged file raises what its bytes happen to mean
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise InvalidInput("file", f"This is no Parquet file that can be read: {reason}") from None


def _to_csv(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(columns)
    writer.writerows([_cell(row[name]) for name in columns] for row in rows)
    return out.getvalue().encode()


def _to_jsonl(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> bytes:
    return "".join(
        json.dumps({c: row[c] for c in columns}, ensure_ascii=False) + "\n" for row in rows
    ).encode()


def _to_parquet(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> bytes:
    import pyarrow
    from pyarrow import parquet

    listed = [{name: _flat(row[name]) for name in columns} for row in rows]
    out = io.BytesIO()
    parquet.write_table(
        pyarrow.table({name: [row[name] for row in listed] for name in columns}), out
    )
    return out.getvalue()


def _flat(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value


def _cell(value: Any) -> Any:
    flat = "" if value is None else _flat(value)
    return f"'{flat}" if isinstance(flat, str) and flat[:1] in FORMULA else flat


def _unquoted(cell: str) -> str:
    return cell[1:] if cell[:1] == "'" and cell[1:2] in FORMULA and len(cell) > 1 else cell


def _refuse(constant: str) -> None:
    raise ValueError(constant)


FORMULA = ("=", "+", "-", "@", "\t", "\r")
READERS = {"csv": _from_csv, "jsonl": _from_jsonl, "parquet": _from_parquet}
WRITERS = {"csv": _to_csv, "jsonl": _to_jsonl, "parquet": _to_parquet}
