"""What a concept is, and the ways to define one as a row of a table."""

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from workers.pipeline.concepts.python_source import PythonSource, PythonToken
from workers.pipeline.concepts.span_index import Span
from workers.pipeline.concepts.tokenized_document import Document, Flags


class Concept(NamedTuple):
    """A property that some tokens of a document have.

    `name` identifies it in provenance. `words` appear in labels: what a token is (“a comma”) or
    where it is (“in a string”). `find` returns which tokens of a document have the property.
    """

    name: str
    words: str
    find: Callable[[Document], Flags]


def pattern_concept(
    name: str, words: str, expression: str, group: int = 0, flags: int = 0
) -> Concept:
    """Return the concept of tokens that overlap a match of a regular expression, or of one group of
    it.
    """
    compiled = re.compile(expression, flags | re.MULTILINE)

    def find_matches(document: Document) -> Flags:
        return document.tokens_in(
            match.span(group) for match in compiled.finditer(document.text) if match.group(group)
        )

    return Concept(name, words, find_matches)


def lexeme_concept(name: str, words: str, predicate: Callable[[PythonToken], bool]) -> Concept:
    """Return the concept of tokens that overlap a Python token for which `predicate` is true."""

    def find_lexemes(document: Document) -> Flags:
        return document.tokens_in_array(document.python.tokens.spans_of(predicate))

    return Concept(name, words, find_lexemes)


def syntax_concept(
    name: str,
    words: str,
    kinds: type | tuple[type, ...],
    spans: Callable[[PythonSource, object], Iterable[Span]],
) -> Concept:
    """Return the concept of tokens that overlap one of the `spans` of each syntax node of
    `kinds`.
    """
    all_kinds = kinds if isinstance(kinds, tuple) else (kinds,)

    def find_nodes(document: Document) -> Flags:
        python = document.python
        return document.tokens_in(
            span
            for kind in all_kinds
            for node in python.nodes[kind]
            for span in spans(python, node)
        )

    return Concept(name, words, find_nodes)
