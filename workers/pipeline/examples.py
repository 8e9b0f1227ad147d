"""Choosing examples in one pass, in memory that depends on features x kept examples and never on tokens.

Both choices are "the `keep` best entries of a group, at most one per key", where an entry's priority is a function of
what it is and not of when it came. Such a choice can be made batch by batch and merged shard by shard without losing
anything: an entry that `keep` better keys push out could never come back.

- Top examples: the group is the feature, the priority its peak in the sequence (then the earlier sequence), the key a hash of
  the tokens around that peak. Two sequences with the same text there share a key, so duplicates drop out exactly.
- Bands: the group is (feature, bin of the activation), the priority a seeded hash of (feature, sequence, position), the
  key the sequence. The smallest of random priorities are a uniform sample, and they do not depend on batch order.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from workers.pipeline.ordering import LOW, SEQUENCE_BITS, first_of_each, mix, run_lengths, stable_argsort, starts

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
    """The `keep` entries of lowest priority in each of `groups` groups, at most one per key; 24 bytes an entry.

    `priorities` [groups, keep] rises along a row and is `NONE` where nothing is kept; `keys` and `payloads` belong to them.
    Entries that are offered wait until there are many, as sorting them in costs what the rows they fall into hold; the
    three tensors are up to date after `settle`.
    """

    def __init__(self, groups: int, keep: int, device: torch.device | str = "cpu") -> None:
        self.priorities = torch.full((groups, keep), NONE, dtype=torch.int64, device=device)
        self.keys = torch.zeros(groups, keep, dtype=torch.int64, device=device)
        self.payloads = torch.zeros(groups, keep, dtype=torch.int64, device=device)
        self._waiting: list[Entries] = []

    def admits(self, group: Tensor, priority: Tensor) -> Tensor:
        """Whether each entry [n] would find a place among those that are settled, were its key new."""
        return priority < self.priorities[:, -1][group]

    def offer(self, entries: Entries) -> None:
        """Offer n entries."""
        self._waiting.append(entries)
        if sum(len(some.group) for some in self._waiting) > max(MANY, self.priorities.numel() // 4):
            self.settle()

    def rename(self, groups: Tensor, names: Tensor) -> None:
        """Let what is in `groups`, which are all that change, be in the group that `names` [all groups] says."""
        held = self.entries(groups)
        self.priorities[groups] = NONE
        self._waiting = [some._replace(group=names[some.group]) for some in self._waiting]
        self.offer(held._replace(group=names[held.group]))

    def settle(self) -> None:
        """Sort in what waits."""
        if not self._waiting:
            return
        offered = Entries(*(torch.cat(column) for column in zip(*self._waiting, strict=True)))
        self._waiting = []
        touched = torch.zeros(len(self.priorities), dtype=torch.bool, device=offered.group.device)
        touched[offered.group] = True
        groups = touched.nonzero()[:, 0]
        held = self.entries(groups)
        self.priorities[groups] = NONE
        entries = Entries(*(torch.cat(pair) for pair in zip(held, offered, strict=True)))
        group, priority, key, payload = entries.take(stable_argsort(entries.priority))
        chosen = first_of_each(mix(group) + key)
        chosen = chosen[stable_argsort(group[chosen])]
        first = starts(group[chosen])
        rank = torch.arange(len(chosen), device=group.device)
        rank -= torch.repeat_interleave(first.nonzero()[:, 0], run_lengths(first))
        kept = rank < self.priorities.shape[1]
        chosen, rank = chosen[kept], rank[kept]
        place = (group[chosen], rank)
        self.priorities[place], self.keys[place], self.payloads[place] = priority[chosen], key[chosen], payload[chosen]

    def entries(self, groups: Tensor) -> Entries:
        """Return everything that is settled in `groups`."""
        held = (self.priorities[groups] != NONE).nonzero(as_tuple=True)
        place = (groups[held[0]], held[1])
        return Entries(place[0], self.priorities[place], self.keys[place], self.payloads[place])

    def nbytes(self) -> int:
        """Bytes held now."""
        waiting = [column for some in self._waiting for column in some]
        return sum(tensor.nbytes for tensor in (self.priorities, self.keys, self.payloads, *waiting))


def peak_priority(value: Tensor, sequence: Tensor) -> Tensor:
    """Return priorities that rank by falling activation (positive float32 [n]), then by the earlier sequence."""
    return ((LARGEST_BITS - value.view(torch.int32).long()) << SEQUENCE_BITS) | sequence


def sample_priority(seed: int, feature: Tensor, sequence: Tensor, position: Tensor) -> Tensor:
    """Return a pseudo-random non-negative priority for each firing [n], a function of these four numbers alone."""
    firing = mix((sequence << 24) + position + mix(feature.new_full((1,), seed)))
    return mix(firing + mix(feature)) & NONE - 1


def pack_payload(position: Tensor, value: Tensor) -> Tensor:
    """Pack the position and the float32 activation of firings [n] into int64."""
    return (position << 32) | value.view(torch.int32).long()


def unpack_payload(payload: Tensor) -> tuple[Tensor, Tensor]:
    """Return (position, activation) of packed firings."""
    return payload >> 32, (payload & LOW).int().view(torch.float32)


def window_keys(token_ids: Tensor, real: Tensor, reach: int) -> Tensor:
    """Hash the tokens within `reach` of every position; equal texts around two positions give equal keys.

    `token_ids` int64 [batch, pos]; `real` is false for padding, which counts like the sequence's end. Returns [batch, pos].
    """
    width = 2 * reach + 1
    weights = mix(torch.arange(1, width + 1, device=token_ids.device)) | 1
    scrambled = torch.nn.functional.pad(torch.where(real, mix(token_ids + 1), 0), (reach, reach))
    return mix((scrambled.unfold(1, width, 1) * weights).sum(-1))
