"""Nearest features between two SAEs: what a plain matrix of all cosines says, however it is cut
into blocks.
"""

import pytest
import torch

from features.records import InvalidInput, Progress, SaeMatches
from workers.pipeline.sae import matching as sae_matching


def all_cosines(first, second):
    """All cosines at once; the lowest index of the highest, and its value."""
    unit = [torch.nn.functional.normalize(rows.double(), dim=1) for rows in (first, second)]
    cosines = unit[0] @ unit[1].T
    return cosines.argmax(1).tolist(), cosines.max(1).values.tolist()


def match(*decoders):
    *progress, record = sae_matching.match_features(*decoders)
    assert all(isinstance(one, Progress) for one in progress)
    assert isinstance(record, SaeMatches)
    return record


@pytest.mark.parametrize(("rows", "columns"), [(4096, 4096), (7, 5), (1, 1)])
def test_every_feature_finds_what_a_plain_comparison_finds_both_ways(monkeypatch, rows, columns):
    monkeypatch.setattr(sae_matching, "ROWS", rows)
    monkeypatch.setattr(sae_matching, "COLUMNS", columns)
    torch.manual_seed(0)
    first, second = torch.randn(40, 12) * torch.rand(40, 1) * 9, torch.randn(23, 12)
    second[5] = first[17] * 3
    record = match(first, second)
    for side, expected in (
        (record.there, all_cosines(first, second)),
        (record.back, all_cosines(second, first)),
    ):
        assert side.indices == expected[0]
        assert side.cosines == pytest.approx(expected[1], abs=1e-6)
    assert record.there.indices[17] == 5
    assert record.there.cosines[17] == pytest.approx(1)


@pytest.mark.parametrize("size", [4096, 1])
def test_of_equal_ones_the_first_is_taken_and_a_row_of_zeros_has_cosine_0(monkeypatch, size):
    monkeypatch.setattr(sae_matching, "ROWS", size)
    monkeypatch.setattr(sae_matching, "COLUMNS", size)
    first = torch.tensor([[1.0, 0.0], [0.0, 0.0], [-1.0, 0.0]])
    second = torch.tensor([[0.0, 1.0], [2.0, 0.0], [5.0, 0.0]])
    record = match(first, second)
    assert record.there == ([1, 0, 0], [1.0, 0.0, 0.0])
    assert record.back == ([0, 0, 0], [0.0, 1.0, 1.0])


def test_bfloat16_is_compared_as_float32():
    torch.manual_seed(0)
    first, second = torch.randn(30, 8).bfloat16(), torch.randn(30, 8).bfloat16()
    assert match(first, second).there.indices == all_cosines(first, second)[0]


def test_directions_of_different_lengths_are_refused():
    with pytest.raises(InvalidInput, match="8 dimensions") as refused:
        list(sae_matching.match_features(torch.randn(3, 4), torch.randn(3, 8)))
    assert refused.value.field == "other"


def test_it_ends_where_it_is_asked_to():
    torch.manual_seed(0)
    records = list(
        sae_matching.match_features(torch.randn(30, 4), torch.randn(30, 4), lambda: True)
    )
    assert not any(isinstance(record, SaeMatches) for record in records)
