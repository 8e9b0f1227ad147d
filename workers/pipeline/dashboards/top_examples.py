"""Choosing examples in one pass, in memory that depends on features x kept examples and never on
tokens.

Both choices are "the `keep` best entries of a group, at most one per key", where an entry's
priority is a function of what it is and not of when it came. Such a choice can be made batch by
batch and merged shard by shard without losing anything: an entry that `keep` better keys push out
could never come back.

- Top examples: the group is the feature, the priority its peak in the sequence (then the earlier
  sequence), the key a hash of
  the tokens around that peak. Two sequences with the same text there share a key, so duplicates
  drop out exactly.
- Bands: the group is (feature, bin of the activation), the priority a seeded hash of (feature,
  sequence, position), the
  key the sequence. The smallest of random priorities are a uniform sample, and they do not depend
  on batch order.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from workers.pipeline.dashboards.sorting import (
    LOW,
    SEQUENCE_BITS,
    first_of_each,
    mix,
    run_lengths,
    stable_argsort,
    starts,
)

NONE = torch.iinfo(torch.int64).max
LARGEST_BITS = 0x7FFFFFFF
MANY = 1 << 16
"""Entries that may wait, however few groups there are."""


class Entries(NamedTuple):
    """Candidates as columns, int64 [n]."""

    group: Tensor
    priority: Tensor
    key: Tensor
    payload: Tensor

    def take(self, places: Tensor) -> "Entries":
        """Those at `places`."""
        return Entries(*(column[places] for column in self))


class Best:
    """The `keep` entries of lowest priority in each of `groups` groups, at most one per key; 32
    bytes an entry.

    Entries that are offered wait until there are many, as sorting them in costs as much as what is
    held. Groups that hold nothing take 8 bytes, so that an SAE of a million features can be read.
    """

    def __init__(self, groups: int, keep: int, device: torch.device | str = "cpu") -> None:
        self.keep = keep
        self.worst = torch.full((groups,), NONE, dtype=torch.int64, device=device)
        empty = torch.zeros(0, dtype=torch.int64, device=device)
        self._held = Entries(empty, empty, empty, empty)
        self._waiting: list[Entries] = []

    @property
    def entries(self) -> Entries:
        """All that is kept, by rising group, then priority."""
        self._settle()
        return self._held

    def between(self, start: int, stop: int) -> Entries:
        """What is kept in groups [start, stop)."""
        held = self.entries
        begin, end = torch.searchsorted(held.group, held.group.new_tensor([start, stop])).tolist()
        return Entries(*(column[begin:end] for column in held))

    def admits(self, group: Tensor, priority: Tensor) -> Tensor:
        """Whether each entry [n] would find a place among those that do not wait, were
        its key new.
        """
        return priority < self.worst[group]

    def offer(self, entries: Entries) -> None:
        """Offer n entries."""
        self._waiting.append(entries)
        if sum(len(some.group) for some in self._waiting) > max(MANY, len(self._held.group) // 2):
            self._settle()

    def rename(self, change: Callable[[Tensor], Tensor]) -> None:
        """Let each entry be in the group [n] that `change` makes of its old one [n]."""
        self._waiting = [some._replace(group=change(some.group)) for some in self._waiting]
        groups = change(self._held.group)
        moved = groups != self._held.group
        self.worst[self._held.group[moved]] = NONE
        self._waiting.append(self._held._replace(group=groups).take(moved))
        self._held = self._held.take(~moved)

    def nbytes(self) -> int:
        """Bytes held now."""
        columns = [column for some in (self._held, *self._waiting) for column in some]
        return self.worst.nbytes + sum(column.nbytes for column in columns)

    def _settle(self) -> None:
        """Sort in what waits."""
        if not self._waiting:
            return
        every = Entries(
            *(torch.cat(column) for column in zip(self._held, *self._waiting, strict=True))
        )
        self._waiting = []
        group, priority, key, payload = every.take(stable_argsort(every.priority))
        chosen = first_of_each(mix(group) + key)
        chosen = chosen[stable_argsort(group[chosen])]
        first = starts(group[chosen])
        rank = torch.arange(len(chosen), device=group.device)
        rank -= torch.repeat_interleave(first.nonzero()[:, 0], run_lengths(first))
        kept = chosen[rank < self.keep]
        self._held = Entries(group[kept], priority[kept], key[kept], payload[kept])
        last = chosen[rank == self.keep - 1]
        self.worst[group[last]] = priority[last]


def peak_priority(value: Tensor, sequence: Tensor) -> Tensor:
    """Return priorities that rank by falling activation (positive float32 [n]), then by the earlier
    sequence.
    """
    return ((LARGEST_BITS - value.view(torch.int32).long()) << SEQUENCE_BITS) | sequence


def sample_priority(seed: int, feature: Tensor, sequence: Tensor, position: Tensor) -> Tensor:
    """Return a pseudo-random non-negative priority for each firing [n], a function of these four
    numbers alone.
    """
    firing = mix((sequence << 24) + position + mix(feature.new_full((1,), seed)))
    return mix(firing + mix(feature)) & NONE - 1


def pack_payload(position: Tensor, value: Tensor) -> Tensor:
    """Pack the position and the float32 activation of firings [n] into int64."""
    return (position << 32) | value.view(torch.int32).long()


def unpack_payload(payload: Tensor) -> tuple[Tensor, Tensor]:
    """Return (position, activation) of packed firings."""
    return payload >> 32, (payload & LOW).int().view(torch.float32)


def window_keys(token_ids: Tensor, real: Tensor, reach: int) -> Tensor:
    """Hash the tokens within `reach` of every position; equal texts around two positions give equal
    keys.

    `token_ids` int64 [batch, pos]; `real` is false for padding, which counts like the sequence's
    end. Returns [batch, pos].
    """
    width = 2 * reach + 1
    weights = mix(torch.arange(1, width + 1, device=token_ids.device)) | 1
    scrambled = torch.nn.functional.pad(torch.where(real, mix(token_ids + 1), 0), (reach, reach))
    return mix((scrambled.unfold(1, width, 1) * weights).sum(-1))
