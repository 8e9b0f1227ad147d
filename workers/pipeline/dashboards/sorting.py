"""Sorting and hashing of int64 tensors, the same on every device."""

import numpy as np
import torch
from torch import Tensor

SEQUENCE_BITS = 32
"""Bits for the corpus position of a sequence in a packed pair; the feature is in those above."""

LOW = (1 << SEQUENCE_BITS) - 1


def stable_argsort(keys: Tensor) -> Tensor:
    """Return the indices that sort int64 `keys` [n] upwards, equal keys in their original order.

    On a CPU this uses numpy's sort of plain integers, which is vectorised. Keys of few bits are
    sorted together with their index in the low bits: 1.3 ms for 100,000 keys, against 7 ms for
    numpy's stable sort and 3 to 185 ms for torch's. Other keys are sorted stably only if they have
    duplicates.
    """
    if keys.device.type != "cpu":
        return torch.argsort(keys, stable=True)
    plain = keys.numpy()
    bits = len(plain).bit_length()
    if not len(plain) or (plain.min() >= 0 and int(plain.max()) < 1 << (63 - bits)):
        packed = (plain << bits) | np.arange(len(plain))
        packed.sort()
        return torch.from_numpy(packed & ((1 << bits) - 1))
    order = np.argsort(plain)
    ordered = plain[order]
    if (ordered[1:] == ordered[:-1]).any():
        order = np.argsort(plain, kind="stable")
    return torch.from_numpy(order)


def first_of_each(keys: Tensor) -> Tensor:
    """Return the index of the first of each value of int64 `keys` [n], in rising order of index."""
    if keys.device.type == "cpu" and len(keys):
        order = np.argsort(keys.numpy())
        ordered = keys.numpy()[order]
        begins = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
        first = np.minimum.reduceat(order, begins)
        first.sort()
        return torch.from_numpy(first)
    sorting = stable_argsort(keys)
    return sorting[run_starts(keys[sorting])].sort().values


def nonzero_indices(dense: Tensor) -> Tensor:
    """Return the flat indices [n] of the elements of `dense` that are not 0, in rising order.

    On a CPU numpy's comparison is four times as fast as torch's.
    """
    if dense.device.type == "cpu" and dense.dtype == torch.float32:
        return torch.from_numpy(np.flatnonzero(dense.detach().numpy() != 0))
    return (dense != 0).flatten().nonzero()[:, 0]


def sorted_unique(keys: Tensor) -> Tensor:
    """Return the distinct values of int64 `keys` [n], in rising order."""
    ordered = keys[stable_argsort(keys)]
    return ordered[run_starts(ordered)]


def run_starts(ordered: Tensor) -> Tensor:
    """Return a mask [n] that is true where a run of equal values starts in `ordered` [n]."""
    first = torch.ones_like(ordered, dtype=torch.bool)
    first[1:] = ordered[1:] != ordered[:-1]
    return first


def run_lengths(first: Tensor) -> Tensor:
    """Return the length of each run, given the mask [n] of where runs start."""
    begins = first.nonzero()[:, 0]
    return torch.diff(begins, append=begins.new_tensor([first.numel()]))


def scramble(keys: Tensor) -> Tensor:
    """Hash int64 `keys` so that each output bit depends on every input bit (splitmix64).

    The function is a bijection, so distinct keys never collide.
    """
    keys = (keys ^ _shift(keys, 30)) * -0x40A7B892E31B1A47
    keys = (keys ^ _shift(keys, 27)) * -0x6B2FB644ECCEEE15
    return keys ^ _shift(keys, 31)


def pack_pair(feature: Tensor, sequence: Tensor) -> Tensor:
    """Pack a feature and a sequence position into one int64 that sorts by feature, then
    sequence.
    """
    return (feature << SEQUENCE_BITS) | sequence


def _shift(keys: Tensor, bits: int) -> Tensor:
    return (keys >> bits) & ((1 << (64 - bits)) - 1)  # torch shifts the sign in; a hash needs zeros
