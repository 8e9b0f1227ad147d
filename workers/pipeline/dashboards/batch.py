"""A batch of sequences, and the sparse activations of an SAE on it."""

from typing import NamedTuple

import torch
from torch import Tensor

from features.records import SequenceRecord


class Batch(NamedTuple):
    """Sequences as one tensor, padded on the right.

    `token_ids` int64 [batch, pos]; `real` is false for padding; `special` is true for special
    tokens; `counted` is true for the tokens that count. At an SAE's hook these are fewer, since
    outliers do not count (`corpus_pass.without_outliers`).
    """

    sequences: list[SequenceRecord]
    token_ids: Tensor
    real: Tensor
    special: Tensor
    counted: Tensor

    @property
    def left_out(self) -> Tensor:
        """True for tokens that are not special and do not count, bool [batch, pos]."""
        return self.real & ~self.special & ~self.counted

    def to(self, device: torch.device) -> "Batch":
        """Return the batch with its tensors on `device`."""
        return Batch(self.sequences, *(part.to(device, non_blocking=True) for part in self[1:]))

    def pinned(self) -> "Batch":
        """Return the batch in pinned memory, which a GPU can copy from while it computes."""
        return Batch(self.sequences, *(part.pin_memory() for part in self[1:]))


class SparseActivations(NamedTuple):
    """The activations of features on a batch that are not 0, negative ones too: columns [n] ordered
    by (feature, row, position).

    `row` is the index of the sequence in the batch.
    """

    feature: Tensor
    row: Tensor
    position: Tensor
    value: Tensor
