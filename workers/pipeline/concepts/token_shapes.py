"""Concepts of a token's own shape and of its position in the document."""

import re
from collections.abc import Callable

import numpy as np

from workers.pipeline.concepts.concept import Concept
from workers.pipeline.concepts.tokenized_document import Document, Flags

EARLY_LINES = 20
FIRST_CHARACTER = re.compile(r"(?:^|\n)\s*?(\S)")


def _continues_word(document: Document) -> Flags:
    """Match tokens whose first character and the one before are of the same word."""
    text = document.text
    starts = document.starts.tolist()
    return np.array(
        [s > 0 and text[s - 1].isalnum() and text[s : s + 1].isalnum() for s in starts], dtype=bool
    )


def _has_length(minimum: int, maximum: int) -> Callable[[Document], Flags]:
    def find_by_length(document: Document) -> Flags:
        lengths = document.ends - document.cores
        return (lengths >= minimum) & (lengths <= maximum)

    return find_by_length


def _starts_with_space(document: Document) -> Flags:
    texts = document.token_texts
    return np.array([text[:1] == " " and not text.isspace() for text in texts], dtype=bool)


def _is_blank(document: Document) -> Flags:
    return np.array([text.isspace() for text in document.token_texts], dtype=bool)


def _in_early_lines(document: Document) -> Flags:
    lines = document.text.split("\n")
    end = len("\n".join(lines[:EARLY_LINES]))
    return document.starts < end


def _starts_line(document: Document) -> Flags:
    """Match tokens that hold the first character of their line that is not white space."""
    return document.tokens_at(match.start(1) for match in FIRST_CHARACTER.finditer(document.text))


TOKEN_SHAPES: tuple[Concept, ...] = (
    Concept("token.continues", "inside a word", _continues_word),
    Concept("token.spaced", "a token that begins with a space", _starts_with_space),
    Concept("token.blank", "white space alone", _is_blank),
    Concept("token.one", "a token of one character", _has_length(1, 1)),
    Concept("token.two", "a token of two characters", _has_length(2, 2)),
    Concept("token.long", "a token of six characters or more", _has_length(6, 1 << 30)),
    Concept("token.starts-line", "the first token of a line", _starts_line),
    Concept("document.early", f"in the first {EARLY_LINES} lines of a document", _in_early_lines),
)
