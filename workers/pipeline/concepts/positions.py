"""Concepts of a token's own form and place, in any document."""

import re
from collections.abc import Callable

import numpy as np

from workers.pipeline.concepts.concept import Concept
from workers.pipeline.concepts.document import Document, Flags

EARLY_LINES = 20
FIRST = re.compile(r"(?:^|\n)\s*?(\S)")


def _pieces(document: Document) -> list[str]:
    return [
        document.text[start:end] for start, end in zip(document.starts, document.ends, strict=True)
    ]


def _letter_before(document: Document) -> Flags:
    """Whether the character before the token, and its own first, are of one word."""
    text = document.text
    starts = document.starts.tolist()
    return np.array(
        [s > 0 and text[s - 1].isalnum() and text[s : s + 1].isalnum() for s in starts], dtype=bool
    )


def _sized(least: int, most: int) -> Callable[[Document], Flags]:
    def find(document: Document) -> Flags:
        sizes = document.ends - document.cores
        return (sizes >= least) & (sizes <= most)

    return find


def _space_first(document: Document) -> Flags:
    return np.array(
        [piece[:1] == " " and not piece.isspace() for piece in _pieces(document)], dtype=bool
    )


def _blank(document: Document) -> Flags:
    return np.array([piece.isspace() for piece in _pieces(document)], dtype=bool)


def _early(document: Document) -> Flags:
    ends = [place for place, character in enumerate(document.text) if character == "\n"][
        :EARLY_LINES
    ]
    return document.starts < (ends[-1] if len(ends) == EARLY_LINES else len(document.text))


def _first_of_line(document: Document) -> Flags:
    """Whether a token holds the first character of its line that is no white space."""
    return document.begun(match.start(1) for match in FIRST.finditer(document.text))


POSITIONS: tuple[Concept, ...] = (
    Concept("token.continues", "a piece that goes on a word", _letter_before),
    Concept("token.spaced", "a token that begins with a space", _space_first),
    Concept("token.blank", "white space alone", _blank),
    Concept("token.one", "a token of one character", _sized(1, 1)),
    Concept("token.two", "a token of two characters", _sized(2, 2)),
    Concept("token.long", "a token of six characters or more", _sized(6, 1 << 30)),
    Concept("token.starts-line", "the first token of a line", _first_of_line),
    Concept("document.early", f"in the first {EARLY_LINES} lines of a document", _early),
)
