"""Tokens on which two features fire together are counted exactly, and ranked the same way every
time.
"""

import random

import pytest
import torch

from workers.pipeline.dashboards import cooccurrence
from workers.pipeline.dashboards.cooccurrence import Cooccurrence, Partners


def counted(tokens: list[list[int]], features: int, first: int = 0) -> Cooccurrence:
    """Count tokens given by the features that fire on each, as the firings of one batch."""
    firings = sorted(
        (feature, first + token) for token, fired in enumerate(tokens) for feature in fired
    )
    made = Cooccurrence(features)
    made.add(*torch.tensor(firings, dtype=torch.int64).view(-1, 2).unbind(1))
    return made


def drawn(tokens: int, features: int) -> list[list[int]]:
    """Tokens on which none to most of the features fire."""
    pick = random.Random(0)
    return [
        pick.sample(range(features), pick.choice([0, 1, 1, 2, 3, features - 2]))
        for _ in range(tokens)
    ]


def plain(tokens: list[list[int]], one: int, other: int) -> int:
    return sum(one in fired and other in fired for fired in tokens)


def fires(tokens: list[list[int]], features: int) -> torch.Tensor:
    return torch.tensor([sum(feature in fired for fired in tokens) for feature in range(features)])


def test_every_pair_is_counted_however_many_fire_on_a_token() -> None:
    tokens = drawn(100, 9)
    made = counted(tokens, 9)
    pairs = [(i, j) for i in range(9) for j in range(9) if i != j]
    for i, j in pairs:
        assert int(made.shared_tokens(torch.tensor(i), torch.tensor(j))) == plain(tokens, i, j) > 0


@pytest.mark.parametrize("at_once", [1, 7, 512])
def test_the_way_of_a_gpu_counts_the_same(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(cooccurrence, "TOKENS_AT_ONCE", at_once)
    tokens = [sorted(fired) for fired in drawn(100, 9) if fired]
    made = Cooccurrence(9)
    made._count_on_gpu(
        torch.tensor([feature for fired in tokens for feature in fired]),
        torch.tensor([len(fired) for fired in tokens]),
    )
    assert torch.equal(made.counts, counted(tokens, 9).counts)


def test_batches_and_shards_add_up_to_one_pass() -> None:
    tokens = drawn(90, 9)
    whole, parts = counted(tokens, 9), [counted(tokens[i::3], 9, first=1000 * i) for i in range(3)]
    for shard in parts[1:]:
        parts[0].merge(shard)
    assert torch.equal(parts[0].counts, whole.counts)


def test_the_score_is_tokens_of_both_out_of_tokens_of_either() -> None:
    tokens = [[0, 1], [0, 1, 2], [0], [2, 3], [3]]
    found = counted(tokens, 5).most_cooccurring(fires(tokens, 5), 10, 0, 5)
    thirds, third, quarter = (torch.tensor(x).item() for x in (2 / 3, 1 / 3, 1 / 4))
    assert found.indices == [[1, 2], [0, 2], [1, 3, 0], [2], []]
    assert found.shared_tokens == [[2, 1], [2, 1], [1, 1, 1], [1], []]
    assert found.jaccards == [
        [thirds, quarter],
        [thirds, third],
        [third, third, quarter],
        [third],
        [],
    ]


def test_ties_go_by_index_and_neither_the_cut_nor_the_block_changes_that() -> None:
    tokens = [list(range(12))] * 3
    made, sums = counted(tokens, 12), fires(tokens, 12)
    found = made.most_cooccurring(sums, 4, 2, 12)
    assert found.indices == [[i for i in range(12) if i != index][:4] for index in range(2, 12)]
    assert found == made.most_cooccurring(sums, 4, 2, 12, block=1)


def test_an_sae_that_is_too_wide_keeps_no_counts_and_has_no_partners() -> None:
    made = Cooccurrence(9, max_width=8)
    made.add(torch.tensor([0, 8]), torch.tensor([0, 0]))
    assert (made.counted, made.counts.numel()) == (False, 0)
    assert made.most_cooccurring(torch.ones(9, dtype=torch.int64), 10, 3, 5) == Partners(
        [[], []], [[], []], [[], []]
    )


def test_the_memory_at_the_limit_is_two_gibibytes() -> None:
    made = Cooccurrence(cooccurrence.MAX_WIDTH, "meta")
    assert made.counts.nbytes == pytest.approx(2 << 30, rel=1e-3)


def test_one_feature_alone_has_no_partner() -> None:
    assert counted([[0], [0]], 1).most_cooccurring(torch.tensor([2]), 10, 0, 1) == Partners(
        [[]], [[]], [[]]
    )
