"""Select examples in one pass, in memory proportional to features x examples, not to tokens.

Both selections are "the `count` best entries of a group, at most one per key", where the priority
of an entry depends on what it is and not on when it came. Such a selection can be made batch by
batch and merged shard by shard without loss: an entry that is displaced by `count` better keys
would be displaced in any order.

- Top examples: the group is the feature, the priority its peak in the sequence (then the earlier
  sequence), and the key a hash of the tokens around that peak. Sequences with equal text there
  share a key, so duplicates are removed exactly.
- Bands: the group is (feature, bin of the activation), the priority a seeded hash of (feature,
  sequence, position), and the key the sequence. The smallest of random priorities are a uniform
  sample.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from workers.pipeline.dashboards.sorting import (
    LOW,
    SEQUENCE_BITS,
    first_of_each,
    run_lengths,
    run_starts,
    scramble,
    stable_argsort,
)

NONE = torch.iinfo(torch.int64).max
LARGEST_BITS = 0x7FFFFFFF
MIN_PENDING = 1 << 16
"""Entries that may be pending, even with few groups."""


class Entries(NamedTuple):
    """Candidates as columns, int64 [n]."""

    group: Tensor
    priority: Tensor
    key: Tensor
    payload: Tensor

    def take(self, indices: Tensor) -> "Entries":
        """Return the entries at `indices`, or where a mask is true."""
        return Entries(*(column[indices] for column in self))


class BestEntries:
    """The `count` entries of lowest priority in each of `groups` groups, at most one per key.

    An entry takes 32 bytes, a group 8, so that an SAE may have a million features. Offered entries
    are pending until there are many, because merging them costs as much as sorting all entries.
    """

    def __init__(self, groups: int, count: int, device: torch.device | str = "cpu") -> None:
        self.count = count
        self.worst = torch.full((groups,), NONE, dtype=torch.int64, device=device)
        empty = torch.zeros(0, dtype=torch.int64, device=device)
        self._merged = Entries(empty, empty, empty, empty)
        self._pending: list[Entries] = []

    @property
    def entries(self) -> Entries:
        """All best entries, sorted by group, then priority."""
        self._merge_pending()
        return self._merged

    def between(self, start: int, stop: int) -> Entries:
        """Return the best entries of groups [start, stop)."""
        entries = self.entries
        bounds = entries.group.new_tensor([start, stop])
        begin, end = torch.searchsorted(entries.group, bounds).tolist()
        return Entries(*(column[begin:end] for column in entries))

    def would_admit(self, group: Tensor, priority: Tensor) -> Tensor:
        """Return whether each entry [n] would be among the merged ones, if its key were new."""
        return priority < self.worst[group]

    def offer(self, entries: Entries) -> None:
        """Offer n entries."""
        self._pending.append(entries)
        pending = sum(len(part.group) for part in self._pending)
        if pending > max(MIN_PENDING, len(self._merged.group) // 2):
            self._merge_pending()

    def regroup(self, new_group: Callable[[Tensor], Tensor]) -> None:
        """Move each entry to the group [n] that `new_group` returns for its old one [n]."""
        self._pending = [part._replace(group=new_group(part.group)) for part in self._pending]
        groups = new_group(self._merged.group)
        moved = groups != self._merged.group
        self.worst[self._merged.group[moved]] = NONE
        self._pending.append(self._merged._replace(group=groups).take(moved))
        self._merged = self._merged.take(~moved)

    def nbytes(self) -> int:
        """Bytes in use now."""
        columns = [column for part in (self._merged, *self._pending) for column in part]
        return self.worst.nbytes + sum(column.nbytes for column in columns)

    def _merge_pending(self) -> None:
        if not self._pending:
            return
        parts = zip(self._merged, *self._pending, strict=True)
        entries = Entries(*(torch.cat(columns) for columns in parts))
        self._pending = []
        entries = entries.take(stable_argsort(entries.priority))
        distinct = first_of_each(scramble(entries.group) + entries.key)
        entries = entries.take(distinct[stable_argsort(entries.group[distinct])])
        first = run_starts(entries.group)
        rank = torch.arange(len(first), device=first.device)
        rank -= torch.repeat_interleave(first.nonzero()[:, 0], run_lengths(first))
        self._merged = entries.take(rank < self.count)
        last = entries.take(rank == self.count - 1)
        self.worst[last.group] = last.priority


def peak_priority(value: Tensor, sequence: Tensor) -> Tensor:
    """Return priorities that rank by falling activation (positive float32 [n]), then by the earlier
    sequence.
    """
    return ((LARGEST_BITS - value.view(torch.int32).long()) << SEQUENCE_BITS) | sequence


def sample_priority(seed: int, feature: Tensor, sequence: Tensor, position: Tensor) -> Tensor:
    """Return a pseudo-random non-negative priority for each activation [n], a function of these
    four numbers only.
    """
    token = scramble((sequence << 24) + position + scramble(feature.new_full((1,), seed)))
    return scramble(token + scramble(feature)) & NONE - 1


def pack_payload(position: Tensor, value: Tensor) -> Tensor:
    """Pack positions and float32 activations [n] into int64."""
    return (position << 32) | value.view(torch.int32).long()


def unpack_payload(payload: Tensor) -> tuple[Tensor, Tensor]:
    """Return (position, activation) of packed payloads [n]."""
    return payload >> 32, (payload & LOW).int().view(torch.float32)


def window_keys(token_ids: Tensor, real: Tensor, reach: int) -> Tensor:
    """Hash the tokens within `reach` of every position; equal windows have equal hashes.

    `token_ids` int64 [batch, pos]; `real` is false for padding, which counts like the end of the
    sequence. Returns int64 [batch, pos].
    """
    width = 2 * reach + 1
    weights = scramble(torch.arange(1, width + 1, device=token_ids.device)) | 1
    hashes = torch.where(real, scramble(token_ids + 1), 0)
    padded = torch.nn.functional.pad(hashes, (reach, reach))
    return scramble((padded.unfold(1, width, 1) * weights).sum(-1))
