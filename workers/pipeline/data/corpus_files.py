"""Documents in local files: text, JSON lines (also gzipped) and Parquet."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from features.records import InvalidInput
from workers.pipeline.data.chat import Content, as_content

SUFFIXES = (".txt", ".jsonl", ".jsonl.gz", ".parquet")
MIN_DOCUMENT_CHARACTERS = 4000
"""A text file is cut at blank lines into documents of at least this many characters."""
PARQUET_ROWS_AT_ONCE = 256

Document = tuple[str, Content]
"""A name and a content."""


def list_files(path: Path) -> list[Path]:
    """Return the readable files in the folder `path`, sorted, or `path` itself if it is a file.

    Raises `InvalidInput("source")` if there is none.
    """
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.name.endswith(SUFFIXES))
    if not files or not files[0].name.endswith(SUFFIXES):
        raise InvalidInput("source", f"{path} holds none of {', '.join(SUFFIXES)}.")
    return files


def load_file(file: Path, name: str, text_column: str) -> Iterator[Document]:
    """Yield the documents of `file`, with names that begin with `name`.

    Raises `InvalidInput` (field `source` or `text_column`) with the line or row that is wrong.
    """
    if file.suffix == ".parquet":
        yield from _load_parquet(file, name, text_column)
    elif file.suffix == ".txt":
        yield from _load_text(file, name)
    else:
        yield from _load_json_lines(file, name, text_column)


def parse_content(value: Any, location: str) -> Content:
    """Return the content in a cell. Raises `InvalidInput("text_column")` at `location`."""
    try:
        return as_content(value)
    except ValueError as error:
        raise InvalidInput("text_column", f"{location} {error}.") from error


def _load_text(file: Path, name: str) -> Iterator[Document]:
    paragraphs: list[str] = []
    number = size = 0
    for line in _lines(file, name):
        paragraphs.append(line)
        size += len(line)
        if size >= MIN_DOCUMENT_CHARACTERS and not line.strip():
            yield f"{name}:{number}", "".join(paragraphs).strip()
            paragraphs, number, size = [], number + 1, 0
    yield f"{name}:{number}", "".join(paragraphs).strip()


def _load_json_lines(file: Path, name: str, text_column: str) -> Iterator[Document]:
    for number, line in enumerate(_lines(file, name), 1):
        if not line.strip():
            continue
        location = f"{name}, line {number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise InvalidInput("source", f"{location} is not JSON: {error.msg}.") from error
        if not isinstance(row, dict) or row.get(text_column) is None:
            fields = ", ".join(row) if isinstance(row, dict) else f"a {type(row).__name__}"
            message = f"{location} has no text in {text_column!r}; it has {fields}."
            raise InvalidInput("text_column", message)
        yield f"{name}:{number}", parse_content(row[text_column], f"{text_column!r} of {location}")


def _load_parquet(file: Path, name: str, text_column: str) -> Iterator[Document]:
    try:
        table = pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        raise InvalidInput("source", f"{name} is not a Parquet file: {error}") from error
    columns = table.schema_arrow.names
    if text_column not in columns:
        message = f"{name} has no column {text_column!r}; it has {', '.join(columns)}."
        raise InvalidInput("text_column", message)
    number = 0
    for rows in table.iter_batches(batch_size=PARQUET_ROWS_AT_ONCE, columns=[text_column]):
        for value in rows.column(0).to_pylist():
            location = f"Column {text_column!r} of {name}, row {number},"
            yield f"{name}:{number}", parse_content(value, location)
            number += 1


def _lines(file: Path, name: str) -> Iterator[str]:
    try:
        with (
            gzip.open(file, "rt", encoding="utf-8")
            if file.suffix == ".gz"
            else file.open(encoding="utf-8") as lines
        ):
            yield from lines
    except UnicodeDecodeError as error:
        raise InvalidInput("source", f"{name} is not UTF-8 text (byte {error.start}).") from error
    except (OSError, EOFError) as error:
        raise InvalidInput("source", f"Cannot read {name}: {error}") from error
