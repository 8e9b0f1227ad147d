"""A batch of sequences, and the sparse activations of an SAE on it."""

from typing import NamedTuple

import torch
from torch import Tensor

from features.records import SequenceRecord


class Batch(NamedTuple):
    """Sequences as one tensor, padded on the right.

    `token_ids` int64 [batch, pos]; `real` is false for padding; `counted` is true for tokens that
    are neither padding nor special, up to the token limit.
    """

    sequences: list[SequenceRecord]
    token_ids: Tensor
    real: Tensor
    counted: Tensor

    def to(self, device: torch.device) -> "Batch":
        """Return the batch with its tensors on `device`."""
        tensors = (self.token_ids, self.real, self.counted)
        return Batch(self.sequences, *(part.to(device, non_blocking=True) for part in tensors))

    def pinned(self) -> "Batch":
        """Return the batch in pinned memory, which a GPU can copy from while it computes."""
        tensors = (self.token_ids, self.real, self.counted)
        return Batch(self.sequences, *(part.pin_memory() for part in tensors))


class SparseActivations(NamedTuple):
    """The positive activations of features on a batch: columns [n] ordered by (feature, row,
    position).

    `row` is the index of the sequence in the batch.
    """

    feature: Tensor
    row: Tensor
    position: Tensor
    value: Tensor
