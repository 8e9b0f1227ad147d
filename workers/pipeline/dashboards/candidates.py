"""The activations and token ids that examples need, stored for every candidate of a pass.

A candidate is a sequence that may still become an example of a feature. All activations of the
feature in that sequence are stored when the sequence is seen, so the values of an example need no
second forward pass. Activations of candidates that were displaced since are removed whenever the
store has doubled.
"""

import json
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from workers.pipeline.dashboards.batch import Batch
from workers.pipeline.dashboards.sorting import LOW, SEQUENCE_BITS, stable_argsort

MIN_COMPACTED = 1 << 18
"""Stores of fewer activations are not compacted."""
FEATURES_PER_STEP = 1 << 14
"""Features that are compacted at once, to limit memory."""


class CandidateActivations(NamedTuple):
    """Activations as columns [n]: (feature, sequence) packed by `pack_pair`, the position in the
    sequence, and the value.
    """

    pairs: Tensor
    positions: Tensor
    values: Tensor


class StoredSequence(NamedTuple):
    """A sequence: its document, token ids, and the positions that do not count although they are
    not special.
    """

    document: str
    token_ids: np.ndarray
    left_out: np.ndarray


class CandidateStore:
    """Activations of candidates of `features` features, and the sequences that they lie in.

    `sequences` are by position in the corpus.
    """

    def __init__(self, features: int, device: torch.device | str = "cpu") -> None:
        self.features = features
        self.sequences: dict[int, StoredSequence] = {}
        empty = torch.zeros(0, dtype=torch.int64, device=device)
        self._chunks = [CandidateActivations(empty, empty.int(), empty.float())]
        self._compacted_size = MIN_COMPACTED

    def add(self, batch: Batch, rows: Tensor, activations: CandidateActivations) -> None:
        """Store activations [n] that lie in `rows` [n] of a batch."""
        self._chunks.append(activations)
        left_out = batch.left_out.cpu().numpy()
        for row in torch.bincount(rows).nonzero()[:, 0].tolist():
            record = batch.sequences[row]
            ids = np.asarray(record.token_ids, dtype=np.int32)
            where = left_out[row].nonzero()[0].astype(np.int32)
            self.sequences[record.position] = StoredSequence(record.document, ids, where)

    def merge(self, other: "CandidateStore") -> None:
        """Add the store of a shard that saw other sequences."""
        self.sequences |= other.sequences
        self._chunks += other._chunks

    def needs_compaction(self) -> bool:
        """Whether the store has doubled since it was last compacted."""
        return sum(len(chunk.pairs) for chunk in self._chunks) > 2 * self._compacted_size

    def compact(self, needed_pairs: Callable[[int, int], Tensor]) -> CandidateActivations:
        """Remove what no candidate needs, and return the rest ordered by (feature, sequence,
        position).

        `needed_pairs(start, stop)` returns the packed (feature, sequence) pairs of the candidates
        of features [start, stop), sorted.
        """
        pairs, positions, values = (torch.cat(parts) for parts in zip(*self._chunks, strict=True))
        order = stable_argsort(pairs)
        ordered = pairs[order]
        remaining, sequences = [order[:0]], set()
        for start in range(0, self.features, FEATURES_PER_STEP):
            stop = min(start + FEATURES_PER_STEP, self.features)
            needed = needed_pairs(start, stop)
            bounds = pairs.new_tensor([start, stop]) << SEQUENCE_BITS
            begin, end = torch.searchsorted(ordered, bounds).tolist()
            remaining.append(order[begin:end][_is_in(ordered[begin:end], needed)])
            sequences.update(torch.unique(needed & LOW).tolist())
        indices = torch.cat(remaining)
        compacted = CandidateActivations(pairs[indices], positions[indices], values[indices])
        self._chunks = [compacted]
        self._compacted_size = max(MIN_COMPACTED, len(indices))
        self.sequences = _contiguous(
            {position: entry for position, entry in self.sequences.items() if position in sequences}
        )
        return compacted

    def nbytes(self) -> int:
        """Bytes in use now, in tensors and token ids."""
        tensors = sum(column.nbytes for chunk in self._chunks for column in chunk)
        return tensors + sum(row.token_ids.nbytes for row in self.sequences.values())

    def sequence_tensors(self) -> dict[str, Tensor]:
        """Return the sequences as tensors.

        - "sequences.position" and "sequences.length", int64 [sequences];
        - "sequences.token_ids", int32, end to end;
        - "sequences.left_out_count", int64 [sequences];
        - "sequences.left_out", int32, end to end;
        - "sequences.documents", uint8: their names as one JSON list in UTF-8.
        """
        positions = sorted(self.sequences)
        rows = [self.sequences[position] for position in positions]
        documents = json.dumps([row.document for row in rows]).encode()
        return {
            "sequences.position": torch.tensor(positions, dtype=torch.int64),
            "sequences.length": torch.tensor([len(row.token_ids) for row in rows]).long(),
            "sequences.token_ids": _joined([row.token_ids for row in rows]),
            "sequences.left_out_count": torch.tensor([len(row.left_out) for row in rows]).long(),
            "sequences.left_out": _joined([row.left_out for row in rows]),
            "sequences.documents": torch.frombuffer(bytearray(documents), dtype=torch.uint8),
        }

    @classmethod
    def from_tensors(
        cls, features: int, activations: CandidateActivations, tensors: dict[str, Tensor]
    ) -> "CandidateStore":
        """Return a store of compacted activations and of the sequences in `sequence_tensors`."""
        store = cls(features)
        store._chunks = [activations]
        store._compacted_size = max(MIN_COMPACTED, len(activations.pairs))
        documents = json.loads(bytes(tensors["sequences.documents"].numpy()))
        ids = _split(tensors["sequences.token_ids"], tensors["sequences.length"])
        left_out = _split(tensors["sequences.left_out"], tensors["sequences.left_out_count"])
        # Without sequences, split returns one empty array, which strict=False ignores.
        rows = zip(tensors["sequences.position"].tolist(), documents, ids, left_out, strict=False)
        store.sequences = {position: StoredSequence(*row) for position, *row in rows}
        return store


def _joined(parts: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.concatenate([np.zeros(0, np.int32), *parts]))


def _split(joined: Tensor, lengths: Tensor) -> list[np.ndarray]:
    return np.split(joined.numpy(), np.cumsum(lengths.tolist()).astype(np.int64)[:-1])


def _is_in(keys: Tensor, ordered: Tensor) -> Tensor:
    """Return whether each of `keys` [n] is in `ordered`; `torch.isin` takes 6x the memory."""
    if not len(ordered):
        return torch.zeros_like(keys, dtype=torch.bool)
    return ordered[torch.searchsorted(ordered, keys).clamp_(max=len(ordered) - 1)] == keys


def _contiguous(sequences: dict[int, StoredSequence]) -> dict[int, StoredSequence]:
    """Return the same sequences with their token ids end to end in one array, and likewise the
    positions that are left out.

    As separate arrays, each would keep a page of the heap alive that is otherwise free.
    """
    rows = list(sequences.values())
    columns = []
    for arrays in ([row.token_ids for row in rows], [row.left_out for row in rows]):
        joined = np.concatenate([np.zeros(0, np.int32), *arrays])
        columns.append(np.split(joined, np.cumsum([len(array) for array in arrays]).astype(int)))
    # The last part of each column, after the last end, is empty.
    parts = zip(sequences.items(), *columns, strict=False)
    return {
        position: StoredSequence(row.document, ids, left_out)
        for (position, row), ids, left_out in parts
    }
