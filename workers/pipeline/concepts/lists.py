"""Concepts that people give as lists of words or phrases."""

import re
from collections.abc import Iterable, Mapping

from workers.pipeline.concepts.concept import Concept
from workers.pipeline.concepts.document import Document, Flags

WORD = re.compile(r"\w+|[^\w\s]")


def listed(name: str, entries: Iterable[str]) -> Concept:
    """Tokens that hold a character of an entry, where it is no part of a longer word; small and
    capital letters are alike.

    An entry is found by its words, so that blanks and line ends between them do not matter.
    """
    by_first: dict[str, set[tuple[str, ...]]] = {}
    for entry in entries:
        words = tuple(WORD.findall(entry.lower()))
        if words:
            by_first.setdefault(words[0], set()).add(words)

    def find(document: Document) -> Flags:
        matches = list(WORD.finditer(document.text))
        words = [match[0].lower() for match in matches]
        spans = []
        for place, word in enumerate(words):
            for entry in by_first.get(word, ()):
                if tuple(words[place : place + len(entry)]) == entry:
                    spans.append((matches[place].start(), matches[place + len(entry) - 1].end()))
        return document.marked(spans)

    return Concept(f"list.{name}", f"in the list “{name}”", find)


def concepts(lists: Mapping[str, Iterable[str]]) -> list[Concept]:
    """The concept of each list by its name."""
    return [listed(name, entries) for name, entries in lists.items()]
