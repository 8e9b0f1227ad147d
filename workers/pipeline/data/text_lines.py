"""Lines of text files: compression, byte-order marks, and the byte that is wrong."""

import bz2
import gzip
import io
import lzma
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from features.records import InvalidInput

MARKS = (
    (b"\xff\xfe\x00\x00", "utf-32"),  # before UTF-16, whose mark it begins with
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
"""Byte-order marks with the encodings that they announce. A text does not contain its mark."""
SNIFFED_BYTES = 1024
NUL_SHARE = 0.2
"""A text of which more bytes are NUL is UTF-16 or UTF-32 without a mark."""
MAX_LINE = 1 << 26
"""Characters of a line, so that a damaged file does not fill the memory."""


def _open_zstandard(file: Path) -> Any:
    return pa.CompressedInputStream(pa.OSFile(str(file)), "zstd")


OPENERS: dict[str, Callable[[Path], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": _open_zstandard,
}
"""By the last suffix of a file, how its bytes are decompressed."""


class Line(NamedTuple):
    """A line with its number from 1, its end included."""

    number: int
    text: str


class _CountingReader(io.RawIOBase):
    """Reads a stream after its first bytes, and counts all bytes."""

    def __init__(self, head: bytes, stream: Any) -> None:
        self._head, self._stream, self.count = head, stream, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._head[: len(buffer)] or self._stream.read(len(buffer))
        self._head = self._head[len(data) :]
        buffer[: len(data)] = data
        self.count += len(data)
        return len(data)


def text_lines(file: Path, name: str) -> Iterator[Line]:
    """Yield the lines of a text file, by its suffix decompressed, decoded as UTF-8 or as its
    byte-order mark says.

    Raises `InvalidInput("source")` with the line and the number of the byte (from 0, decompressed)
    that is wrong, and the errors of the decompressors.
    """
    with OPENERS.get(file.suffix.lower(), partial(Path.open, mode="rb"))(file) as stream:
        head = _read_head(stream)
        encoding = next((code for mark, code in MARKS if head.startswith(mark)), "utf-8")
        if encoding == "utf-8" and head.count(0) > NUL_SHARE * len(head):
            raise InvalidInput(
                "source",
                f"{name} is not UTF-8 text: many of its first bytes are NUL, as in UTF-16 without "
                "a byte-order mark. Save it as UTF-8.",
            )
        reader = _CountingReader(head, stream)
        buffered = io.BufferedReader(reader)
        yield from _decoded_lines(buffered, reader, encoding, name)


def _read_head(stream: Any) -> bytes:
    head = b""
    while len(head) < SNIFFED_BYTES and (more := stream.read(SNIFFED_BYTES - len(head))):
        head += more
    return head


def _decoded_lines(
    buffered: Any, reader: _CountingReader, encoding: str, name: str
) -> Iterator[Line]:
    number = 0
    with io.TextIOWrapper(buffered, encoding=encoding) as lines:
        try:
            for number, text in enumerate(iter(partial(lines.readline, MAX_LINE), ""), 1):
                if len(text) >= MAX_LINE:
                    raise InvalidInput(
                        "source", f"{name}, line {number} has more than {MAX_LINE:,} characters."
                    )
                yield Line(number, text)
        except UnicodeError as error:
            raise InvalidInput("source", _wrong_bytes(error, reader, number, name)) from error


def _wrong_bytes(error: UnicodeError, reader: _CountingReader, lines: int, name: str) -> str:
    """The sentence about bytes that are not of the encoding; `lines` were read before them.

    The decoder saw the bytes that it had not used before and those that were read last.
    """
    if not isinstance(error, UnicodeDecodeError):  # of UTF-16 and UTF-32, without a position
        return f"{name}, line {lines + 1} cannot be decoded: {error}. Save the file as UTF-8."
    before = error.object[: error.start]
    number = reader.count - len(error.object) + error.start
    line = lines + 1 + before.decode(error.encoding, "ignore").count("\n")
    encoding = "UTF-8" if error.encoding == "utf-8" else error.encoding.upper()
    return (
        f"{name} is not {encoding} text: byte {number:,}, in line {line:,}, is "
        f"0x{error.object[error.start]:02X}. Save the file as UTF-8."
    )
