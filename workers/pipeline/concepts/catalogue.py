"""All concepts. A new one is one more row of one of these tables."""

from collections.abc import Iterable

from workers.pipeline.concepts.characters import CHARACTERS
from workers.pipeline.concepts.concept import Concept
from workers.pipeline.concepts.dictionary import DICTIONARY
from workers.pipeline.concepts.lexical import LEXICAL
from workers.pipeline.concepts.positions import POSITIONS
from workers.pipeline.concepts.syntax import SYNTAX

CONCEPTS: tuple[Concept, ...] = (*CHARACTERS, *POSITIONS, *DICTIONARY, *LEXICAL, *SYNTAX)


def with_lists(lists: Iterable[Concept] = ()) -> tuple[Concept, ...]:
    """All concepts and those of word lists."""
    return (*CONCEPTS, *lists)
