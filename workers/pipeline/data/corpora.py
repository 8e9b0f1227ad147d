"""Documents of a corpus, as (name, content): text files, JSON lines, Parquet, folders of them, hub
datasets, `python-stdlib`.

The content is a text, or the turns of a conversation (`conversations`) where that is what the
column holds.

The order is a seeded shuffle through a buffer of `BUFFER` documents, the same on every run: a
corpus of fewer documents is shuffled whole. `python-stdlib` holds out the modules listed in
`stdlib.HELD_OUT`; every other corpus holds out the documents whose crc32 is divisible by 20 (5%),
so that the two parts never share a text.
"""

import gzip
import hashlib
import itertools
import json
import platform
import random
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from features.records import InvalidInput
from workers.pipeline.data import stdlib
from workers.pipeline.data.chat import Content, as_content, content_key

STDLIB = "python-stdlib"
SUFFIXES = (".txt", ".jsonl", ".jsonl.gz", ".parquet")
BUFFER = 4096
HELD_OUT_SHARE = 20
PIECE = 4000
"""A text file is cut between paragraphs into documents of at least this many characters."""

Document = tuple[str, Content]


class Description(NamedTuple):
    """What a corpus is: `revision` follows its content, `note` is for people; `chat` where it holds
    conversations.
    """

    revision: str
    note: str
    chat: bool


def load_documents(
    source: str, *, text_column: str = "text", held_out: bool = False, seed: int = 0
) -> Iterator[Document]:
    """Yield (name, content) of every document of the training part, or of the held-out part.

    Raises `InvalidInput` (field `source` or `text_column`) saying what is there instead.
    """
    if source == STDLIB:
        yield from _shuffled(stdlib.load_documents(held_out), seed)
        return
    found = False
    for name, content in _shuffled(_every(source, text_column, seed), seed):
        if (
            content
            and (zlib.crc32(content_key(content).encode()) % HELD_OUT_SHARE == 0) == held_out
        ):
            found = True
            yield name, content
    if not found:
        part = "held-out part (one document in 20)" if held_out else "training part"
        raise InvalidInput(
            "source", f"The {part} of {source} is empty; give a corpus of more documents."
        )


def describe_corpus(source: str, text_column: str = "text") -> Description:
    """What a corpus is that can be read: its first document is. Raises `InvalidInput` where
    it cannot.
    """
    if source == STDLIB:
        return Description(*_stdlib_revision(), chat=False)
    first = next((content for _, content in _every(source, text_column, 0) if content), "")
    chat = not isinstance(first, str)
    if Path(source).expanduser().exists():
        files = _files(Path(source).expanduser())
        size = sum(path.stat().st_size for path in files)
        note = f"{len(files)} file{'s' if len(files) > 1 else ''}, {size / 1e6:,.1f} MB"
        return Description(_files_revision(files), note, chat)
    return Description(
        _hub_revision(source),
        f"dataset {source} of the Hugging Face hub, split train, streamed",
        chat,
    )


def _every(source: str, text_column: str, seed: int) -> Iterator[Document]:
    path = Path(source).expanduser()
    if path.exists():
        files = _files(path)
        random.Random(seed).shuffle(files)
        root = path if path.is_dir() else path.parent
        for file in files:
            yield from _read(file, file.relative_to(root).as_posix(), text_column)
    elif source.startswith(("/", ".", "~")) or source.endswith(SUFFIXES):
        raise InvalidInput("source", f"There is no file or folder {source}.")
    else:
        yield from _hub(source, text_column, seed)


def _files(path: Path) -> list[Path]:
    """The readable files of a folder (or the file itself), sorted."""
    files = (
        sorted(file for file in path.rglob("*") if file.name.endswith(SUFFIXES))
        if path.is_dir()
        else [path]
    )
    if not files or not files[0].name.endswith(SUFFIXES):
        raise InvalidInput("source", f"{path} holds none of {', '.join(SUFFIXES)}.")
    return files


def _read(file: Path, name: str, text_column: str) -> Iterator[Document]:
    if file.suffix == ".parquet":
        yield from _parquet(file, name, text_column)
    elif file.suffix == ".txt":
        yield from _text(file, name)
    else:
        yield from _json_lines(file, name, text_column)


def _text(file: Path, name: str) -> Iterator[Document]:
    piece: list[str] = []
    number = size = 0
    for line in _lines(file, name):
        piece.append(line)
        size += len(line)
        if size >= PIECE and not line.strip():
            yield f"{name}:{number}", "".join(piece).strip()
            piece, number, size = [], number + 1, 0
    yield f"{name}:{number}", "".join(piece).strip()


def _json_lines(file: Path, name: str, text_column: str) -> Iterator[Document]:
    for number, line in enumerate(_lines(file, name), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise InvalidInput(
                "source", f"{name}, line {number} is not JSON: {error.msg}."
            ) from error
        if not isinstance(row, dict) or row.get(text_column) is None:
            there = ", ".join(map(str, row)) if isinstance(row, dict) else f"a {type(row).__name__}"
            raise InvalidInput(
                "text_column",
                f"{name}, line {number} has no text in {text_column!r}; it has {there}.",
            )
        yield (
            f"{name}:{number}",
            _content(row[text_column], f"{text_column!r} of {name}, line {number}"),
        )


def _parquet(file: Path, name: str, text_column: str) -> Iterator[Document]:
    try:
        table = pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        raise InvalidInput("source", f"{name} is not a Parquet file: {error}") from error
    if text_column not in table.schema_arrow.names:
        raise InvalidInput(
            "text_column",
            f"{name} has no column {text_column!r}; it has {', '.join(table.schema_arrow.names)}.",
        )
    number = 0
    for rows in table.iter_batches(batch_size=256, columns=[text_column]):
        for value in rows.column(0).to_pylist():
            yield (
                f"{name}:{number}",
                _content(value, f"Column {text_column!r} of {name}, row {number},"),
            )
            number += 1


def _content(value: Any, where: str) -> Content:
    try:
        return as_content(value)
    except ValueError as error:
        raise InvalidInput("text_column", f"{where} {error}.") from error


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


def _hub(source: str, text_column: str, seed: int) -> Iterator[Document]:
    from datasets import load_dataset  # takes a second to import, and only hub datasets need it

    try:
        rows = iter(
            load_dataset(source, split="train", streaming=True).shuffle(seed=seed, buffer_size=1)
        )
        first = next(rows, None)
    except Exception as error:  # datasets raises its own kinds, the hub's, fsspec's and requests'
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InvalidInput(
            "source",
            f"Cannot stream dataset {source} from the hub (a local folder works offline): {why}",
        ) from error
    if first is None or text_column not in first:
        raise InvalidInput(
            "text_column",
            f"{source} has no text in {text_column!r}; it has {', '.join(first or ['no rows'])}.",
        )
    for number, row in enumerate(itertools.chain([first], rows)):
        yield (
            f"train:{number}",
            _content(row[text_column], f"{text_column!r} of {source}, row {number},"),
        )


def _shuffled(items: Iterator[Document], seed: int) -> Iterator[Document]:
    """Every item once: each new one takes a random place of a full buffer and sends out what stood
    there.
    """
    chance = random.Random(seed)
    buffer: list[Document] = []
    for item in items:
        if len(buffer) < BUFFER:
            buffer.append(item)
            continue
        place = chance.randrange(BUFFER)
        yield buffer[place]
        buffer[place] = item
    chance.shuffle(buffer)
    yield from buffer


def _stdlib_revision() -> tuple[str, str]:
    library = stdlib.library_folder()
    files = sorted(
        path
        for path in library.rglob("*.py")
        if not stdlib.THIRD_PARTY & set(path.relative_to(library).parts)
    )
    if not files:
        next(stdlib.load_documents())  # says what to install
    version = platform.python_version()
    return (
        f"python-{version} {_files_revision(files)}",
        f"the library sources of Python {version}, {len(files):,} files",
    )


def _files_revision(files: list[Path]) -> str:
    """`sha256:` and 12 hex digits over the names, the sizes and the first 64 KiB of the files:
    cheap, for any corpus.
    """
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            digest.update(file.read(1 << 16))
    return f"sha256:{digest.hexdigest()[:12]}"


def _hub_revision(source: str) -> str:
    from huggingface_hub import dataset_info

    try:
        return str(dataset_info(source).sha)
    except Exception as error:  # the hub's errors, requests' errors
        raise InvalidInput("source", f"Cannot ask the hub for dataset {source}: {error}") from error
