"""Documents in local files: text, JSON lines, CSV and TSV (also compressed), Parquet and Arrow.

`load_file` is the one way in. Whatever a reader or a library raises leaves it as `InvalidInput`
that names the file, the row where it is known, and the reason.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from features.records import InvalidInput
from workers.pipeline.data.chat import Content, as_content, whole_characters
from workers.pipeline.data.column_files import load_arrow, load_parquet
from workers.pipeline.data.delimited_files import load_csv, load_tsv
from workers.pipeline.data.read_errors import read_failure
from workers.pipeline.data.text_lines import OPENERS, text_lines

MIN_DOCUMENT_CHARACTERS = 4000
"""A text file is cut at blank lines into documents of at least this many characters."""
MAX_NAMED_FIELDS = 20
"""Columns or fields that an error lists."""

Document = tuple[str, Content]
"""A name and a content."""


def load_file(file: Path, name: str, text_column: str) -> Iterator[Document]:
    """Yield the documents of `file`, with names that begin with `name`.

    Raises `InvalidInput` (field `source` or `text_column`) with the line or row that is wrong,
    whatever is wrong with the file.
    """
    shown, document = whole_characters(name), None
    try:
        for number, value, location in _reader(file)(file, shown, text_column):
            document = f"{shown}:{number}"
            yield document, parse_content(value, location)
    except InvalidInput:
        raise
    except Exception as error:  # of any decompressor, parser or decoder
        place = f"Cannot read {shown} after {document}" if document else f"Cannot read {shown}"
        message = whole_characters(f"{place}: {read_failure(error)}.")
        raise InvalidInput("source", message) from error


def list_files(path: Path) -> list[Path]:
    """Return the readable files in the folder `path`, sorted, or `path` itself if it is a file.

    Hidden files and folders (`.DS_Store`, `._x`, `.cache`, `__MACOSX`) are left out. Raises
    `InvalidInput("source")` if there is none.
    """
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if _is_corpus_file(file, path))
    else:
        files = [path] if path.is_file() and path.name.lower().endswith(SUFFIXES) else []
    if not files:
        formats = ", ".join(READERS)
        name = whole_characters(path.name)
        message = f"{name} holds none of {formats} (text formats also as {', '.join(OPENERS)})."
        if path.suffix.lower() == ".json":
            message = f"{name}: write one JSON object a line and name the file .jsonl."
        raise InvalidInput("source", message)
    return files


def parse_content(value: Any, location: str) -> Content:
    """Return the content in a cell. Raises `InvalidInput("text_column")` at `location`."""
    try:
        return as_content(value)
    except ValueError as error:
        message = whole_characters(f"{location} {error}.")
        raise InvalidInput("text_column", message) from error


def _is_corpus_file(file: Path, folder: Path) -> bool:
    hidden = any(
        part.startswith(".") or part == "__MACOSX" for part in file.relative_to(folder).parts
    )
    return not hidden and file.name.lower().endswith(SUFFIXES) and file.is_file()


Row = tuple[int, Any, str]
"""A number for the document's name, the content as it is stored, and where it is, for errors."""
Reader = Callable[[Path, str, str], Iterator[Row]]


def _load_text(file: Path, name: str, text_column: str) -> Iterator[Row]:
    paragraphs: list[str] = []
    number = size = 0
    for _, line in text_lines(file, name):
        paragraphs.append(line)
        size += len(line)
        if size >= MIN_DOCUMENT_CHARACTERS and not line.strip():
            yield number, "".join(paragraphs).strip(), name
            paragraphs, number, size = [], number + 1, 0
    yield number, "".join(paragraphs).strip(), name


def _load_json_lines(file: Path, name: str, text_column: str) -> Iterator[Row]:
    for number, line in text_lines(file, name):
        text = line.lstrip("\ufeff")  # of a file that was appended to another
        if text.strip():
            location = f"{name}, line {number}"
            row = _parse_json(text, location)
            if not isinstance(row, dict) or text_column not in row:
                message = f"{location} has no text in {text_column!r}; it has {_fields(row)}."
                raise InvalidInput("text_column", whole_characters(message))
            yield number, row[text_column], f"{text_column!r} of {location}"


def _parse_json(text: str, location: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else read_failure(error)
        raise InvalidInput("source", f"{location} is not JSON: {reason}.") from error


def _fields(row: Any) -> str:
    if not isinstance(row, dict):
        return f"a {type(row).__name__}"
    names = list(row)
    more = f" and {len(names) - MAX_NAMED_FIELDS} more" if len(names) > MAX_NAMED_FIELDS else ""
    return (", ".join(names[:MAX_NAMED_FIELDS]) or "no field") + more


READERS: dict[str, Reader] = {
    ".txt": _load_text,
    ".jsonl": _load_json_lines,
    ".ndjson": _load_json_lines,
    ".csv": load_csv,
    ".tsv": load_tsv,
    ".parquet": load_parquet,
    ".arrow": load_arrow,
}
COMPRESSED = tuple(
    f"{kind}{packing}"
    for kind in READERS
    if kind not in (".parquet", ".arrow")
    for packing in OPENERS
)
SUFFIXES = (*READERS, *COMPRESSED)


def _reader(file: Path) -> Reader:
    parts = file.name.lower().split(".")
    kind = parts[-2] if f".{parts[-1]}" in OPENERS else parts[-1]
    return READERS[f".{kind}"]
