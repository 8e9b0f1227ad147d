"""A document with the place of each of its tokens in its text, which is what every concept is found
in.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import accumulate, chain

import numpy as np
from jaxtyping import Bool, Int64

from workers.pipeline.concepts.grouped import Grouped, Span, Spans
from workers.pipeline.concepts.python import Python

WORDS = re.compile(r"[^\W\d_]+")

Flags = Bool[np.ndarray, " tokens"]


class Document:
    """`text`, and its tokens by the characters that they hold.

    Token i is the characters from `starts[i]` to before `ends[i]`. Where a character is split
    between tokens, each of them holds it. `cores` are the starts without leading white space,
    unless a token is nothing else: " self" lies where "self" is.
    """

    def __init__(self, name: str, text: str, spans: Sequence[Span]) -> None:
        self.name, self.text = name, text
        self.starts = np.array([start for start, _ in spans], dtype=np.int64)
        self.ends = np.array([end for _, end in spans], dtype=np.int64)
        self.cores = self._cores()

    @cached_property
    def python(self) -> Python:
        """What the text is as Python; empty where it is none."""
        return Python(self.text)

    @cached_property
    def words(self) -> Grouped[str]:
        """The runs of letters, alike in small letters and capitals."""
        return Grouped((match[0].lower(), match.span()) for match in WORDS.finditer(self.text))

    def marked(self, spans: Iterable[Span]) -> Flags:
        """Which tokens have a character in one of the spans."""
        return self.between(np.fromiter(chain.from_iterable(spans), dtype=np.int64).reshape(-1, 2))

    def between(self, spans: Spans) -> Flags:
        """Which tokens have a character in one of the spans; their leading white space does not
        count.
        """
        starts, ends = spans[spans[:, 0] < spans[:, 1]].T
        first = np.searchsorted(self.ends, starts, side="right")
        last = np.searchsorted(self.cores, ends, side="left")
        size = len(self.ends) + 1
        open_spans = np.cumsum(
            np.bincount(first, minlength=size) - np.bincount(last, minlength=size)
        )[:-1]
        return (open_spans > 0) & (self.cores < self.ends)

    def begun(self, places: Iterable[int]) -> Flags:
        """Which tokens hold a character at one of the places."""
        return self.marked((place, place + 1) for place in places)

    def _cores(self) -> Int64[np.ndarray, " tokens"]:
        pieces = [self.text[start:end] for start, end in zip(self.starts, self.ends, strict=True)]
        skipped = [len(piece) - len(piece.lstrip()) for piece in pieces]
        whole = [skip == len(piece) for skip, piece in zip(skipped, pieces, strict=True)]
        return self.starts + np.where(whole, 0, skipped).astype(np.int64)


def spans_of(text: str, pieces: Sequence[bytes]) -> list[Span] | None:
    """The characters of `text` that each of its tokens holds, by their exact bytes; None where
    these are not the text's.

    One leading space that the tokenizer put before the text is forgiven.
    """
    joined, data = b"".join(pieces), text.encode("utf-8", "surrogatepass")
    extra = len(joined) - len(data)
    if extra not in (0, 1) or joined[extra:] != data or (extra and joined[:1] != b" "):
        return None
    ends = [max(0, end - extra) for end in accumulate(map(len, pieces))]
    starts = [0, *ends][: len(ends)]
    if text.isascii():
        return list(zip(starts, ends, strict=True))
    # character number of each byte: continuation bytes belong to the character that they end
    number = np.cumsum((np.frombuffer(data, dtype=np.uint8) & 0xC0) != 0x80) - 1
    number = np.append(number, len(text))
    return [
        (int(number[start]), int(number[end - 1]) + 1 if end > start else int(number[start]))
        for start, end in zip(starts, ends, strict=True)
    ]
