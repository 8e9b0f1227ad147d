"""Find the concepts of every token of a context, in the whole documents that it is cut from."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool

from features.records import SequenceRecord
from workers.pipeline.concepts.concept import Concept
from workers.pipeline.concepts.context_concepts import CONTEXTS, context_flags
from workers.pipeline.concepts.span_index import Span
from workers.pipeline.concepts.tokenized_document import Document, token_spans
from workers.pipeline.data.tokens import Tokenized


class TokenConcepts:
    """The concepts of the contexts of a corpus, which must come in order.

    `add_document` must be called with each document before contexts are cut from it. `vocabulary`
    holds the bytes of each token id. `offsets` returns the spans of a text's tokens where the bytes
    of the tokens are not those of the text. A document with neither has only the concepts of
    contexts; `unplaced` counts these documents.
    """

    def __init__(
        self,
        concepts: Sequence[Concept],
        vocabulary: Sequence[bytes],
        offsets: Callable[[str], list[Span]] = lambda text: [],
    ) -> None:
        self.concepts, self.unplaced = concepts, 0
        self._vocabulary, self._offsets = vocabulary, offsets
        self._documents: dict[str, Tokenized] = {}
        self._flags: dict[str, Bool[np.ndarray, "tokens concepts"]] = {}

    @property
    def names(self) -> list[str]:
        """The names of the columns of `flags_of`."""
        return [c.name for c in self.concepts] + [c.name for c in CONTEXTS]

    @property
    def words(self) -> list[str]:
        """The words of the columns of `flags_of`, for labels."""
        return [c.words for c in self.concepts] + [c.words for c in CONTEXTS]

    def add_document(self, document: Tokenized) -> None:
        """Store a document until the contexts are past it."""
        self._documents[document.name] = document

    def document_texts(self, record: SequenceRecord) -> list[str]:
        """Return the texts of the documents that a context is cut from."""
        return [self._documents[piece.document].text for piece in record.pieces]

    def flags_of(self, record: SequenceRecord) -> Bool[np.ndarray, "pos concepts"]:
        """Return which concepts each token of a context has; BOS and separators have only those of
        contexts.
        """
        self._drop_documents_before(record.pieces[0].document)
        ids, size = record.token_ids, len(self.concepts)
        flags = np.zeros((len(ids), size + len(CONTEXTS)), dtype=bool)
        for piece in record.pieces:
            rows = self._document_flags(piece.document)[piece.token :]
            count = min(len(ids) - piece.at, len(rows))
            flags[piece.at : piece.at + count, :size] = rows[:count]
        flags[:, size:] = context_flags(ids)
        return flags

    def _document_flags(self, name: str) -> Bool[np.ndarray, "tokens concepts"]:
        if name not in self._flags:
            self._flags[name] = self._find_concepts(self._documents[name])
        return self._flags[name]

    def _find_concepts(self, document: Tokenized) -> Bool[np.ndarray, "tokens concepts"]:
        flags = np.zeros((len(document.token_ids), len(self.concepts)), dtype=bool)
        spans = self._spans(document)
        if spans is None:
            self.unplaced += 1
        elif spans:
            whole = Document(document.name, document.text, spans)
            for column, concept in enumerate(self.concepts):
                flags[:, column] = concept.find(whole)
        return flags

    def _spans(self, document: Tokenized) -> list[Span] | None:
        spans = token_spans(
            document.text, [self._vocabulary[token] for token in document.token_ids]
        )
        if spans is None:
            spans = self._offsets(document.text)
        return spans if len(spans) == len(document.token_ids) else None

    def _drop_documents_before(self, name: str) -> None:
        for earlier in list(self._documents):
            if earlier == name:
                return
            del self._documents[earlier]
            self._flags.pop(earlier, None)
