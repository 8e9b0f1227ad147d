"""What the concepts say of every token of a context, found in the whole documents that it is cut
from.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool

from features.records import SequenceRecord
from workers.pipeline.concepts import contexts
from workers.pipeline.concepts.concept import Concept
from workers.pipeline.concepts.contexts import CONTEXTS
from workers.pipeline.concepts.document import Document, spans_of
from workers.pipeline.concepts.grouped import Span
from workers.pipeline.data.tokens import Tokenized


class Truth:
    """Concepts of the contexts of a corpus in their order. `see` is told each document before
    contexts are cut from it.

    `vocabulary` holds the bytes of each token; `offsets` gives the characters of a text's tokens
    where those are not the text's own. A document of which neither can be had has no concepts but
    those of contexts: `unplaced` counts them.
    """

    def __init__(
        self,
        concepts: Sequence[Concept],
        vocabulary: Sequence[bytes],
        offsets: Callable[[str], list[Span]] = lambda text: [],
    ) -> None:
        self.concepts, self.unplaced = concepts, 0
        self._vocabulary, self._offsets = vocabulary, offsets
        self._seen: dict[str, Tokenized] = {}
        self._found: dict[str, Bool[np.ndarray, "tokens concepts"]] = {}

    @property
    def names(self) -> list[str]:
        """The names of the columns of `of`."""
        return [
            *(concept.name for concept in self.concepts),
            *(concept.name for concept in CONTEXTS),
        ]

    @property
    def words(self) -> list[str]:
        """The words of the columns of `of`."""
        return [
            *(concept.words for concept in self.concepts),
            *(concept.words for concept in CONTEXTS),
        ]

    def see(self, document: Tokenized) -> None:
        """Keep a document until the contexts are past it."""
        self._seen[document.name] = document

    def texts(self, record: SequenceRecord) -> list[str]:
        """The texts of the documents that a context is cut from."""
        return [self._seen[piece.document].text for piece in record.pieces]

    def of(self, record: SequenceRecord) -> Bool[np.ndarray, "pos concepts"]:
        """Which concepts hold of each token of a context; none of BOS and of what separates
        documents.
        """
        self._forget_before(record.pieces[0].document)
        ids = record.token_ids
        flags = np.zeros((len(ids), len(self.concepts) + len(CONTEXTS)), dtype=bool)
        for piece in record.pieces:
            truth = self._document(piece.document)
            count = min(len(ids) - piece.at, len(truth) - piece.token)
            flags[piece.at : piece.at + count, : len(self.concepts)] = truth[
                piece.token : piece.token + count
            ]
        flags[:, len(self.concepts) :] = contexts.flags(ids)
        return flags

    def _document(self, name: str) -> Bool[np.ndarray, "tokens concepts"]:
        if name not in self._found:
            document = self._seen[name]
            placed = self._spans(document)
            self._found[name] = np.zeros((len(document.token_ids), len(self.concepts)), dtype=bool)
            if placed is None:
                self.unplaced += 1
            elif placed:
                whole = Document(name, document.text, placed)
                for column, concept in enumerate(self.concepts):
                    self._found[name][:, column] = concept.find(whole)
        return self._found[name]

    def _spans(self, document: Tokenized) -> list[Span] | None:
        spans = spans_of(document.text, [self._vocabulary[index] for index in document.token_ids])
        if spans is None:
            spans = self._offsets(document.text)
        return spans if len(spans) == len(document.token_ids) else None

    def _forget_before(self, name: str) -> None:
        for passed in list(self._seen):
            if passed == name:
                return
            del self._seen[passed]
            self._found.pop(passed, None)
