"""Choosing examples in one pass, in memory that depends on features x kept examples and never on tokens.

Both choices are "the `keep` best entries of a group, at most one per key", where an entry's priority is a function of
what it is and not of when it came. Such a choice can be made batch by batch and merged shard by shard without losing
anything: an entry that `keep` better keys push out could never come back.

- Top examples: the group is the feature, the priority its peak in the sequence (then the earlier sequence), the key a hash of
  the tokens around that peak. Two sequences with the same text there share a key, so duplicates drop out exactly.
- Bands: the group is (feature, bin of the activation), the priority a seeded hash of (feature, sequence, position), the
  key the sequence. The smallest of random priorities are a uniform sample, and they do not depend on batch order.
"""

import torch
from torch import Tensor

from workers.pipeline.ordering import LOW, SEQUENCE_BITS, distinct, mix, run_lengths, stable_argsort, starts

NONE = torch.iinfo(torch.int64).max
LARGEST_BITS = 0x7FFFFFFF


class Best:
    """The `keep` entries of lowest priority in each of `groups` groups, at most one per key; 24 bytes an entry.

    `priorities` [groups, keep] rises along a row and is `NONE` where nothing is kept; `keys` and `payloads` belong to them.
    """

    def __init__(self, groups: int, keep: int, device: torch.device | str = "cpu") -> None:
        self.priorities = torch.full((groups, keep), NONE, dtype=torch.int64, device=device)
        self.keys = torch.zeros(groups, keep, dtype=torch.int64, device=device)
        self.payloads = torch.zeros(groups, keep, dtype=torch.int64, device=device)

    def admits(self, group: Tensor, priority: Tensor) -> Tensor:
        """Whether each entry [n] would find a place, were its key new."""
        return priority < self.priorities[group, -1]

    def insert(self, group: Tensor, priority: Tensor, key: Tensor, payload: Tensor) -> None:
        """Offer n entries, each argument int64 [n]."""
        if not group.numel():
            return
        touched = distinct(group)
        held_group, *held = self.entries(touched)
        self.priorities[touched] = NONE
        group = torch.cat([held_group, group])
        entries = [torch.cat([old, new]) for old, new in zip(held, (priority, key, payload), strict=True)]
        order = stable_argsort(entries[0])
        group, (priority, key, payload) = group[order], [entry[order] for entry in entries]
        chosen = _first_of_each(mix(group) + key)
        chosen = chosen[stable_argsort(group[chosen])]
        first = starts(group[chosen])
        lengths = run_lengths(first)
        rank = torch.arange(len(chosen), device=group.device)
        rank -= torch.repeat_interleave(first.nonzero()[:, 0], lengths)
        kept = rank < self.priorities.shape[1]
        chosen, rank = chosen[kept], rank[kept]
        place = (group[chosen], rank)
        self.priorities[place], self.keys[place], self.payloads[place] = priority[chosen], key[chosen], payload[chosen]

    def entries(self, groups: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return (group, priority, key, payload) of everything kept in `groups`, [m] each."""
        held = (self.priorities[groups] != NONE).nonzero(as_tuple=True)
        place = (groups[held[0]], held[1])
        return place[0], self.priorities[place], self.keys[place], self.payloads[place]

    def clear(self, groups: Tensor) -> None:
        """Forget everything kept in `groups`."""
        self.priorities[groups] = NONE


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


def _first_of_each(keys: Tensor) -> Tensor:
    """Return the index of the first of each value of `keys` [n], in rising order of index."""
    order = stable_argsort(keys)
    first = torch.zeros_like(keys, dtype=torch.bool)
    first[order[starts(keys[order])]] = True
    return first.nonzero()[:, 0]
