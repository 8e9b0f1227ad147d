"""Documents of a corpus: local files, a dataset of the Hugging Face hub, or `python-stdlib`.

    load        every document as (name, content), from the source
    shuffle     by a seed, in a buffer of SHUFFLE_BUFFER documents
    split       hold out one document in 20, by a hash of its content

The content is a text, or a conversation if the column has turns (see `chat`). A corpus that fits
the buffer is shuffled completely, and every run has the same order. The parts never share a text,
since equal texts have equal hashes; `python-stdlib` holds out whole modules instead
(`stdlib.HELD_OUT`).
"""

import hashlib
import itertools
import platform
import random
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from features.records import InvalidInput
from workers.pipeline.data import stdlib
from workers.pipeline.data.chat import Content, content_key, whole_characters
from workers.pipeline.data.corpus_files import (
    SUFFIXES,
    Document,
    list_files,
    load_file,
    parse_content,
)
from workers.pipeline.data.read_errors import read_failure

STDLIB = "python-stdlib"
SHUFFLE_BUFFER = 4096
HELD_OUT_MODULUS = 20
"""A document is held out if the crc32 of its content is divisible by this."""
HASHED_BYTES = 1 << 16


class CorpusDescription(NamedTuple):
    """`revision` identifies the content, `note` describes it to people, `chat` says whether it
    consists of conversations.
    """

    revision: str
    note: str
    chat: bool


def load_documents(
    source: str, *, text_column: str = "text", held_out: bool = False, seed: int = 0
) -> Iterator[Document]:
    """Yield (name, content) of the documents of the training part or the held-out part.

    `source` is a file, a folder, a dataset of the hub or `python-stdlib`; documents without text
    are left out. Raises `InvalidInput` (field `source` or `text_column`) with what is there
    instead, and if the part is empty.
    """
    if source == STDLIB:
        yield from _shuffle(stdlib.load_documents(held_out), seed)
        return
    empty = True
    for name, content in _shuffle(_load_source(source, text_column, seed), seed):
        if content and _is_held_out(content) == held_out:
            empty = False
            yield name, content
    if empty:
        part = "held-out part (one document in 20)" if held_out else "training part"
        message = f"The {part} of {source} is empty; give a corpus of more documents."
        raise InvalidInput("source", message)


def describe_corpus(source: str, text_column: str = "text") -> CorpusDescription:
    """Describe the corpus, after loading its first document.

    Raises `InvalidInput` (field `source` or `text_column`) if that fails.
    """
    if source == STDLIB:
        return _describe_stdlib()
    documents = _load_source(source, text_column, seed=0)
    first = next((content for _, content in documents if content), "")
    chat = not isinstance(first, str)
    path = _local_path(source)
    if path:
        files = list_files(path)
        megabytes = sum(file.stat().st_size for file in files) / 1e6
        note = f"{len(files)} file{'s' if len(files) > 1 else ''}, {megabytes:,.1f} MB"
        return CorpusDescription(_hash_files(files), note, chat)
    note = f"dataset {source} of the Hugging Face hub, split train, streamed"
    return CorpusDescription(_hub_revision(source), note, chat)


def _load_source(source: str, text_column: str, seed: int) -> Iterator[Document]:
    path = _local_path(source)
    if path:
        files = list_files(path)
        random.Random(seed).shuffle(files)
        root = path if path.is_dir() else path.parent
        for file in files:
            yield from load_file(file, file.relative_to(root).as_posix(), text_column)
    elif source.startswith(("/", ".", "~")) or source.endswith(SUFFIXES):
        raise InvalidInput("source", f"There is no file or folder {source}.")
    else:
        yield from _load_hub_dataset(source, text_column, seed)


def _local_path(source: str) -> Path | None:
    """The file or folder that `source` names on this machine, or None."""
    try:
        path = Path(source).expanduser()
        return path if path.exists() else None
    except (OSError, RuntimeError, ValueError):  # a name that is too long, or a user who is unknown
        return None


def _load_hub_dataset(source: str, text_column: str, seed: int) -> Iterator[Document]:
    from datasets import load_dataset  # takes a second to import, and only hub datasets need it

    try:
        dataset = load_dataset(source, split="train", streaming=True)
        rows = iter(dataset.shuffle(seed=seed, buffer_size=1))  # shuffles the order of files only
        first = next(rows, None)
    except Exception as error:  # of datasets, huggingface_hub, fsspec or requests
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InvalidInput(
            "source",
            f"Cannot stream dataset {source} from the hub (a local folder works offline): {reason}",
        ) from error
    if first is None or text_column not in first:
        raise InvalidInput(
            "text_column",
            f"{source} has no text in {text_column!r}; it has {', '.join(first or ['no rows'])}.",
        )
    number = 0
    try:
        for number, row in enumerate(itertools.chain([first], rows)):
            location = f"{text_column!r} of {source}, row {number:,},"
            yield f"train:{number}", parse_content(row[text_column], location)
    except InvalidInput:
        raise
    except Exception as error:  # of datasets, fsspec, requests or a file's reader
        reason = read_failure(error)
        message = f"Cannot read dataset {source} after row {number:,}: {reason}."
        raise InvalidInput("source", message) from error


def _is_held_out(content: Content) -> bool:
    return zlib.crc32(content_key(content).encode()) % HELD_OUT_MODULUS == 0


def _shuffle(documents: Iterator[Document], seed: int) -> Iterator[Document]:
    """Once the buffer is full, each document replaces a random one, which is yielded."""
    generator = random.Random(seed)
    buffer: list[Document] = []
    for document in documents:
        if len(buffer) < SHUFFLE_BUFFER:
            buffer.append(document)
            continue
        index = generator.randrange(SHUFFLE_BUFFER)
        yield buffer[index]
        buffer[index] = document
    generator.shuffle(buffer)
    yield from buffer


def _describe_stdlib() -> CorpusDescription:
    library = stdlib.library_folder()
    files = sorted(
        path
        for path in library.rglob("*.py")
        if not stdlib.THIRD_PARTY & set(path.relative_to(library).parts)
    )
    if not files:
        next(stdlib.load_documents())  # raises with what to install
    version = platform.python_version()
    return CorpusDescription(
        f"python-{version} {_hash_files(files)}",
        f"the library sources of Python {version}, {len(files):,} files",
        chat=False,
    )


def _hash_files(files: list[Path]) -> str:
    """`sha256:` and 12 hex digits of the names, the sizes and the first 64 KiB of `files`, which is
    cheap for a corpus of any size.
    """
    digest = hashlib.sha256()
    for path in files:
        try:
            size = path.stat().st_size
            with path.open("rb") as file:
                head = file.read(HASHED_BYTES)
        except OSError as error:
            message = f"Cannot read {whole_characters(path.name)}: {read_failure(error)}."
            raise InvalidInput("source", message) from error
        digest.update(f"{path.name}\0{size}\0".encode(errors="surrogateescape") + head)
    return f"sha256:{digest.hexdigest()[:12]}"


def _hub_revision(source: str) -> str:
    from huggingface_hub import dataset_info

    try:
        return str(dataset_info(source).sha)
    except Exception as error:  # of huggingface_hub or requests
        raise InvalidInput("source", f"Cannot ask the hub for dataset {source}: {error}") from error
