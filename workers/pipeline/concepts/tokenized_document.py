"""A document with the span of each of its tokens, in which concepts are found."""

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import accumulate, chain

import numpy as np
from jaxtyping import Bool, Int64

from workers.pipeline.concepts.python_source import PythonSource
from workers.pipeline.concepts.span_index import Span, SpanIndex, Spans

WORDS = re.compile(r"[^\W\d_]+")

Flags = Bool[np.ndarray, " tokens"]


class Document:
    """`text`, and its tokens by the characters that they hold.

    Token i holds the characters [starts[i], ends[i]). A character that is split between tokens is
    in each of them. `cores` are the starts without leading white space, except for tokens of white
    space alone, so that " self" is where "self" is.
    """

    def __init__(self, name: str, text: str, spans: Sequence[Span]) -> None:
        self.name, self.text = name, text
        self.starts = np.array([start for start, _ in spans], dtype=np.int64)
        self.ends = np.array([end for _, end in spans], dtype=np.int64)
        self.cores = self._cores()

    @cached_property
    def python(self) -> PythonSource:
        """The text parsed as Python; empty if it is none."""
        return PythonSource(self.text)

    @cached_property
    def words(self) -> SpanIndex[str]:
        """The runs of letters, in lower case."""
        return SpanIndex((match[0].lower(), match.span()) for match in WORDS.finditer(self.text))

    @property
    def token_texts(self) -> list[str]:
        """The text of each token."""
        return [self.text[start:end] for start, end in zip(self.starts, self.ends, strict=True)]

    def tokens_in(self, spans: Iterable[Span]) -> Flags:
        """Return which tokens overlap one of the spans, without their leading white space."""
        flat = np.fromiter(chain.from_iterable(spans), dtype=np.int64)
        return self.tokens_in_array(flat.reshape(-1, 2))

    def tokens_in_array(self, spans: Spans) -> Flags:
        """The same as `tokens_in`, for spans in an array."""
        starts, ends = spans[spans[:, 0] < spans[:, 1]].T
        first = np.searchsorted(self.ends, starts, side="right")
        last = np.searchsorted(self.cores, ends, side="left")
        size = len(self.ends) + 1
        changes = np.bincount(first, minlength=size) - np.bincount(last, minlength=size)
        return (np.cumsum(changes)[:-1] > 0) & (self.cores < self.ends)

    def tokens_at(self, offsets: Iterable[int]) -> Flags:
        """Return which tokens hold the character at one of the offsets."""
        return self.tokens_in((offset, offset + 1) for offset in offsets)

    def _cores(self) -> Int64[np.ndarray, " tokens"]:
        texts = self.token_texts
        leading = [len(text) - len(text.lstrip()) for text in texts]
        is_blank = [size == len(text) for size, text in zip(leading, texts, strict=True)]
        return self.starts + np.where(is_blank, 0, leading).astype(np.int64)


def token_spans(text: str, tokens: Sequence[bytes]) -> list[Span] | None:
    """Return the characters of `text` that each of its tokens holds, given the tokens' bytes.

    None if the bytes are not those of the text. One leading space that the tokenizer added is
    allowed.
    """
    joined, data = b"".join(tokens), text.encode("utf-8", "surrogatepass")
    extra = len(joined) - len(data)
    if extra not in (0, 1) or joined[extra:] != data or (extra and joined[:1] != b" "):
        return None
    ends = [max(0, end - extra) for end in accumulate(map(len, tokens))]
    starts = [0, *ends][: len(ends)]
    if text.isascii():
        return list(zip(starts, ends, strict=True))
    # The character of each byte. Continuation bytes belong to the character that they continue.
    character = np.cumsum((np.frombuffer(data, dtype=np.uint8) & 0xC0) != 0x80) - 1
    character = np.append(character, len(text))
    return [
        (
            int(character[start]),
            int(character[end - 1]) + 1 if end > start else int(character[start]),
        )
        for start, end in zip(starts, ends, strict=True)
    ]
