"""What a corpus shows about the features of an SAE: the concepts of each token, and the tokens on
which each feature fires strongly.

A feature fires strongly where its activation exceeds a share of its maximum, for training and for
scoring alike. For T tokens and C concepts this takes T (C / 8 + 21) bytes of memory, and 8 bytes
for each strong activation. Nothing has the size tokens x features.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64, UInt8

from features.records import SequenceRecord
from workers.pipeline.concepts.token_concepts import TokenConcepts
from workers.pipeline.dashboards.batch import Batch, SparseActivations

NONE = -1
"""Where there is no token that counts: outside of the context, a special token or an outlier."""


class Evidence(NamedTuple):
    """Columns by token, in the order of the corpus, of the tokens that count.

    `previous` and `following` are the ids of the neighbours in the context, or `NONE`; `before` is
    the row of the previous token, or `NONE`. `context` is the number of the token's context, and
    `document` [contexts] the number of the document in which each context begins. `held` is true
    for held-out tokens. `flags` are the concepts of each token, eight to a byte, whose `names` and
    `words` are those of the columns. The strong activations of feature f are on the tokens
    `rows[begin[f]:begin[f + 1]]`, in rising order, with `values`.
    """

    ids: Int32[np.ndarray, " tokens"]
    previous: Int32[np.ndarray, " tokens"]
    following: Int32[np.ndarray, " tokens"]
    before: Int32[np.ndarray, " tokens"]
    context: Int32[np.ndarray, " tokens"]
    document: Int32[np.ndarray, " contexts"]
    held: Bool[np.ndarray, " tokens"]
    flags: UInt8[np.ndarray, "tokens bytes"]
    begin: Int64[np.ndarray, " features+1"]
    rows: Int32[np.ndarray, " firings"]
    values: Float32[np.ndarray, " firings"]
    names: list[str]
    words: list[str]

    def strong_rows(self, feature: int) -> Int32[np.ndarray, " firings"]:
        """Return the tokens on which a feature fires strongly, in rising order."""
        return self.rows[self.begin[feature] : self.begin[feature + 1]]

    def strong_values(self, feature: int) -> Float32[np.ndarray, " firings"]:
        """Return the activations on `strong_rows`."""
        return self.values[self.begin[feature] : self.begin[feature + 1]]

    def concepts_of(self, rows: Int64[np.ndarray, " rows"]) -> UInt8[np.ndarray, "rows concepts"]:
        """Return the concepts of some tokens, 1 or 0, one to a byte."""
        return np.unpackbits(self.flags[rows], axis=1, count=len(self.names))


class EvidenceBuilder:
    """Builds the evidence batch by batch. `left_out` counts the tokens that are neither special nor
    counted.
    """

    def __init__(self, concepts: TokenConcepts) -> None:
        self.tokens = self.contexts = self.left_out = 0
        self._concepts = concepts
        self._columns: dict[str, list[np.ndarray]] = {}
        self._features: list[np.ndarray] = []
        self._documents: list[str] = []

    def add(self, batch: Batch, strong: SparseActivations) -> None:
        """Add a batch and the strong activations on it, all on the CPU."""
        counted, ids = batch.counted.numpy(), batch.token_ids.numpy().astype(np.int32)
        rows, tokens = len(counted), int(counted.sum())
        counted_ids = np.where(counted, ids, NONE)
        number = np.full(counted.shape, NONE, dtype=np.int32)
        number[counted] = np.arange(self.tokens, self.tokens + tokens)
        context = np.arange(self.contexts, self.contexts + rows, dtype=np.int32)
        columns = {
            "ids": ids[counted],
            "previous": _shifted(counted_ids, 1)[counted],
            "following": _shifted(counted_ids, -1)[counted],
            "before": _shifted(number, 1)[counted],
            "context": np.broadcast_to(context[:, None], counted.shape)[counted],
            "flags": np.packbits(self._flags(batch.sequences, counted.shape)[counted], axis=1),
            "rows": number[strong.row.numpy(), strong.position.numpy()],
            "values": strong.value.numpy(),
        }
        for name, values in columns.items():
            self._columns.setdefault(name, []).append(values)
        self._features.append(strong.feature.numpy().astype(np.int32))
        self._documents += [record.document for record in batch.sequences]
        self.tokens += tokens
        self.left_out += int(batch.left_out.sum())
        self.contexts += rows

    def build(self, features: int, held_out: Sequence[bool]) -> Evidence:
        """Return the evidence; `held_out` is by context."""
        columns = {name: np.concatenate(parts) for name, parts in self._columns.items()}
        feature = np.concatenate(self._features)
        order = np.argsort(feature, kind="stable")
        for name in ("rows", "values"):
            columns[name] = columns[name][order]
        _, document = np.unique(self._documents, return_inverse=True)
        return Evidence(
            **columns,
            document=document.astype(np.int32),
            held=np.array(held_out, dtype=bool)[columns["context"]],
            begin=np.searchsorted(feature[order], np.arange(features + 1)),
            names=self._concepts.names,
            words=self._concepts.words,
        )

    def _flags(
        self, sequences: Sequence[SequenceRecord], shape: tuple[int, ...]
    ) -> Bool[np.ndarray, "batch pos concepts"]:
        flags = np.zeros((*shape, len(self._concepts.names)), dtype=bool)
        for row, record in enumerate(sequences):
            flags[row, : len(record.token_ids)] = self._concepts.flags_of(record)
        return flags


def _shifted(values: Int32[np.ndarray, "batch pos"], by: int) -> Int32[np.ndarray, "batch pos"]:
    """Return the values `by` positions earlier in each row; `NONE` outside."""
    shifted = np.full_like(values, NONE)
    if by > 0:
        shifted[:, by:] = values[:, :-by]
    else:
        shifted[:, :by] = values[:, -by:]
    return shifted
