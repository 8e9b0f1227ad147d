"""What a concept is, and the ways to write one down as a row of a table."""

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from workers.pipeline.concepts.document import Document, Flags
from workers.pipeline.concepts.grouped import Span
from workers.pipeline.concepts.python import Python, Word


class Concept(NamedTuple):
    """Something that is true of some tokens of a document.

    `name` is its address in provenance; `words` stand in labels, as what a token is (“a comma”) or
    where it lies (“in a string”).
    """

    name: str
    words: str
    find: Callable[[Document], Flags]


def pattern(name: str, words: str, expression: str, group: int = 0, flags: int = 0) -> Concept:
    """Tokens that hold a character of what a regular expression, or one group of it, matches."""
    compiled = re.compile(expression, flags | re.MULTILINE)

    def find(document: Document) -> Flags:
        return document.marked(
            match.span(group) for match in compiled.finditer(document.text) if match.group(group)
        )

    return Concept(name, words, find)


def lexeme(name: str, words: str, wanted: Callable[[Word], bool]) -> Concept:
    """Tokens that hold a character of a Python token."""

    def find(document: Document) -> Flags:
        return document.between(document.python.words.where(wanted))

    return Concept(name, words, find)


def syntax(
    name: str,
    words: str,
    kinds: type | tuple[type, ...],
    spans: Callable[[Python, object], Iterable[Span]],
) -> Concept:
    """Tokens that hold a character of what `spans` finds in each node of `kinds`."""
    every = kinds if isinstance(kinds, tuple) else (kinds,)

    def find(document: Document) -> Flags:
        python = document.python
        return document.marked(
            span for kind in every for node in python.nodes[kind] for span in spans(python, node)
        )

    return Concept(name, words, find)
