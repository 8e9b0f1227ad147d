"""Concepts that users define as lists of words or phrases."""

import re
from collections.abc import Iterable, Mapping

from workers.pipeline.concepts.concept import Concept
from workers.pipeline.concepts.tokenized_document import Document, Flags

WORD = re.compile(r"\w+|[^\w\s]")


def word_list_concept(name: str, entries: Iterable[str]) -> Concept:
    """Return the concept of tokens that overlap an entry, unless it is part of a longer word.

    Case is ignored. An entry is matched word by word, so white space and line ends between its
    words do not matter.
    """
    by_first_word: dict[str, set[tuple[str, ...]]] = {}
    for entry in entries:
        words = tuple(WORD.findall(entry.lower()))
        if words:
            by_first_word.setdefault(words[0], set()).add(words)

    def find_entries(document: Document) -> Flags:
        matches = list(WORD.finditer(document.text))
        words = [match[0].lower() for match in matches]
        spans = []
        for start, word in enumerate(words):
            for entry in by_first_word.get(word, ()):
                stop = start + len(entry)
                if tuple(words[start:stop]) == entry:
                    spans.append((matches[start].start(), matches[stop - 1].end()))
        return document.tokens_in(spans)

    return Concept(f"list.{name}", f"in the list “{name}”", find_entries)


def word_list_concepts(lists: Mapping[str, Iterable[str]]) -> list[Concept]:
    """Return a concept for each list, by its name."""
    return [word_list_concept(name, entries) for name, entries in lists.items()]
