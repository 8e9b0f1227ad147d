"""All concepts. A new concept is one more row of one of these tables."""

from collections.abc import Iterable

from workers.pipeline.concepts.characters import CHARACTERS
from workers.pipeline.concepts.concept import Concept
from workers.pipeline.concepts.dictionary import DICTIONARY
from workers.pipeline.concepts.python_tokens import PYTHON_TOKENS
from workers.pipeline.concepts.syntax_concepts import SYNTAX
from workers.pipeline.concepts.token_shapes import TOKEN_SHAPES

CONCEPTS: tuple[Concept, ...] = (
    *CHARACTERS,
    *TOKEN_SHAPES,
    *DICTIONARY,
    *PYTHON_TOKENS,
    *SYNTAX,
)


def concepts_with_lists(word_lists: Iterable[Concept] = ()) -> tuple[Concept, ...]:
    """Return all concepts, followed by those of word lists."""
    return (*CONCEPTS, *word_lists)
