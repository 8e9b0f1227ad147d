"""Choosing examples batch by batch is the same as choosing among all at once, and
samples are even.
"""

import random
from collections import Counter

import pytest
import torch

from workers.pipeline.dashboards import top_examples
from workers.pipeline.dashboards.top_examples import (
    NONE,
    BestEntries,
    Entries,
    pack_payload,
    peak_priority,
    sample_priority,
    unpack_payload,
    window_keys,
)

Entry = tuple[int, int, int, int]


def offered(batches: list[list[Entry]], groups: int = 5, keep: int = 3) -> BestEntries:
    best = BestEntries(groups, keep)
    for batch in batches:
        columns = torch.tensor(batch).unbind(1)
        admitted = best.would_admit(columns[0], columns[1])
        best.offer(Entries(*columns).take(admitted))
    return best


def plain(entries: list[Entry], groups: int = 5, keep: int = 3) -> list[list[Entry]]:
    chosen: list[list[Entry]] = [[] for _ in range(groups)]
    for entry in sorted(entries, key=lambda entry: entry[1]):
        kept = chosen[entry[0]]
        if len(kept) < keep and entry[2] not in [key for _, _, key, _ in kept]:
            kept.append(entry)
    return chosen


def content(best: BestEntries) -> list[list[Entry]]:
    groups = [best.between(group, group + 1) for group in range(len(best.worst))]
    return [list(zip(*(column.tolist() for column in columns), strict=True)) for columns in groups]


def entries(count: int, seed: int) -> list[Entry]:
    draw = random.Random(seed)
    priorities = draw.sample(range(10 * count), count)
    return [
        (draw.randrange(4), priority, draw.randrange(12), draw.randrange(99))
        for priority in priorities
    ]


@pytest.mark.parametrize("size", [1, 13, 400])
def test_the_best_of_each_group_with_keys_that_differ_are_kept_in_order(size: int) -> None:
    offers = entries(400, 0)
    best = offered([offers[i : i + size] for i in range(0, 400, size)])
    assert content(best) == plain(offers)
    assert content(best)[4] == []
    assert best.worst.tolist() == [priorities[-1][1] for priorities in content(best)[:4]] + [NONE]


def test_two_shards_merge_to_the_best_of_all() -> None:
    offers = entries(300, 1)
    one, other = offered([offers[:100]]), offered([offers[100:]])
    one.offer(other.entries)
    assert content(one) == plain(offers)


@pytest.mark.parametrize("many", [0, 1000])
def test_a_group_that_is_renamed_joins_the_other_whether_its_entries_wait_or_not(
    monkeypatch, many: int
) -> None:
    monkeypatch.setattr(top_examples, "MIN_PENDING", many)
    offers = entries(300, 2)
    names = torch.tensor([0, 0, 1, 1, 2])
    best = BestEntries(5, 3)
    best.offer(Entries(*torch.tensor(offers[:200]).unbind(1)))
    best.regroup(lambda group: names[group])
    best.offer(Entries(*torch.tensor(offers[200:]).unbind(1)))
    assert content(best) == plain(
        [(int(names[group]), *rest) for group, *rest in offers[:200]] + offers[200:]
    )


def test_peaks_rank_by_activation_then_by_the_earlier_sequence() -> None:
    value = torch.tensor([0.5, 3.0, 3.0, 1e-30, 2.9999998])
    sequence = torch.tensor([0, 9, 4, 1, 2])
    assert peak_priority(value, sequence).argsort().tolist() == [2, 1, 4, 0, 3]
    assert (peak_priority(value, sequence) & 0xFFFFFFFF).tolist() == sequence.tolist()


def test_a_payload_gives_back_position_and_activation() -> None:
    position, value = torch.tensor([0, 70_000]), torch.tensor([1e-30, 123.456])
    back = unpack_payload(pack_payload(position, value))
    assert torch.equal(back[0], position)
    assert torch.equal(back[1], value)


def test_every_firing_has_the_same_chance_to_be_sampled() -> None:
    features, firings, kept = 4000, 40, 5
    feature = torch.arange(features).repeat_interleave(firings)
    sequence = torch.arange(firings).repeat(features)
    best = BestEntries(features, kept)
    best.offer(
        Entries(feature, sample_priority(7, feature, sequence, sequence % 3), sequence, sequence)
    )
    drawn = Counter(best.entries.payload.tolist())
    expected = features * kept / firings
    assert (
        sum((drawn[i] - expected) ** 2 / expected for i in range(firings)) < 80
    )  # chi squared of 39: 1 in 10,000


def test_priorities_depend_on_each_of_seed_feature_sequence_and_position() -> None:
    one, two = torch.tensor([1]), torch.tensor([2])
    numbers = [
        (0, one, one, one),
        (1, one, one, one),
        (0, two, one, one),
        (0, one, two, one),
        (0, one, one, two),
    ]
    priorities = [int(sample_priority(*number)) for number in numbers]
    assert len(set(priorities)) == 5
    assert all(0 <= priority < NONE for priority in priorities)


def test_equal_texts_around_a_peak_share_a_key_and_others_do_not() -> None:
    ids = torch.tensor([[9, 1, 2, 3, 4, 5, 9], [8, 1, 2, 3, 4, 5, 8], [8, 1, 2, 4, 3, 5, 8]])
    keys = window_keys(ids, torch.ones_like(ids, dtype=torch.bool), 2)
    assert keys[0, 3] == keys[1, 3]
    assert keys[0, 2] != keys[1, 2]
    assert keys[1, 3] != keys[2, 3]


def test_padding_counts_like_the_end_of_the_sequence() -> None:
    short, long = torch.tensor([[1, 2, 3]]), torch.tensor([[1, 2, 3, 0, 0]])
    padded = window_keys(long, torch.tensor([[True] * 3 + [False] * 2]), 4)[0, :3]
    assert torch.equal(padded, window_keys(short, torch.ones(1, 3, dtype=torch.bool), 4)[0])
    assert not torch.equal(padded, window_keys(long, torch.ones(1, 5, dtype=torch.bool), 4)[0, :3])
