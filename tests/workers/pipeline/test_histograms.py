"""Histograms are exact whatever the range turns out to be."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from workers.pipeline.dashboards.histograms import (
    BINS,
    Histograms,
    band_edges,
    exponents_of,
    power_of_two,
)


def counted(batches: list[tuple[list[int], list[float]]], features: int = 3) -> Histograms:
    histograms = Histograms(features)
    for feature, value in batches:
        order = sorted(range(len(feature)), key=feature.__getitem__)
        at, values = (
            torch.tensor([feature[i] for i in order]),
            torch.tensor([value[i] for i in order]),
        )
        histograms.grow(at, values)
        histograms.add(at, values)
    return histograms


def plain(values: list[float], bound: float) -> list[int]:
    counts = [0] * BINS
    for value in values:
        counts[math.floor(value * BINS / bound)] += 1
    return counts


def same(one: Histograms, other: Histograms) -> bool:
    return all(
        torch.equal(getattr(one, part), getattr(other, part))
        for part in ("counts", "exponents", "coarse", "fine", "maxima")
    )


def test_bins_are_half_open_so_a_power_of_two_opens_the_upper_half() -> None:
    histograms = counted([([0, 0, 0], [1.0, 0.999, 1.03125])])
    assert histograms.exponents[0] == 1
    assert histograms.counts[0].nonzero()[:, 0].tolist() == [31, 32, 33]
    assert histograms.firing_counts.tolist() == [3, 0, 0]


def test_the_range_doubles_for_a_larger_value_and_every_count_stays_exact() -> None:
    values = (
        (torch.rand(500, generator=torch.Generator().manual_seed(0)) ** 6 * 100).add(1e-4).tolist()
    )
    values.sort()  # the range has to double many times
    histograms = counted([([1] * 10, values[i : i + 10]) for i in range(0, 500, 10)])
    bound = float(power_of_two(histograms.exponents)[1])
    assert bound / 2 <= max(values) < bound
    assert histograms.counts[1].tolist() == plain(torch.tensor(values).tolist(), bound)
    assert float(histograms.totals[1]) == math.fsum(torch.tensor(values).tolist())
    assert float(histograms.maxima[1]) == pytest.approx(max(values))


@pytest.mark.parametrize("tiny", [1e-44, 1e-38, 1e-6])
def test_a_range_of_any_size_holds(tiny: float) -> None:
    histograms = counted([([2], [tiny]), ([2], [3e38])])
    assert histograms.counts[2].sum() == 2
    assert histograms.counts[2, 0] == 1
    assert counted([([2], [tiny])]).counts[2, 32:].sum() == 1


def test_the_order_of_batches_and_the_cut_into_shards_do_not_matter() -> None:
    generator = torch.Generator().manual_seed(1)
    feature = torch.randint(0, 2, (300,), generator=generator).tolist()
    value = (
        torch.rand(300, generator=generator)
        * 2.0 ** torch.randint(-8, 8, (300,), generator=generator)
    ).tolist()
    batches = [(feature[i : i + 20], value[i : i + 20]) for i in range(0, 300, 20)]
    whole = counted(batches)
    assert same(counted(batches[::-1]), whole)
    one, other = counted(batches[::2]), counted(batches[1::2])
    ours, theirs = one.merge(other)
    assert same(one, whole)
    assert min(*ours.tolist(), *theirs.tolist()) >= 0
    assert torch.equal(one.totals, whole.totals)


def test_merging_says_how_often_each_side_doubled() -> None:
    low, high = counted([([0], [0.75]), ([1], [6.0])]), counted([([0], [3.0]), ([1], [6.0])])
    ours, theirs = low.merge(high)
    assert (ours.tolist(), theirs.tolist()) == ([2, 0, 0], [0, 0, 0])


@pytest.mark.parametrize("maximum", [0.5, 0.51, 0.77, 0.999, 3.0, 1000.0])
def test_bands_are_nearly_equal_lie_on_the_grid_and_hold_the_maximum(maximum: float) -> None:
    maxima: Tensor = torch.tensor([maximum, 0.0])
    exponents = exponents_of(maxima)
    edges, none = band_edges(maxima, exponents, 32, 5).tolist()
    step = float(power_of_two(exponents)[0]) / 32
    assert edges[-1] == 0
    assert (edges[0] - 1) * step <= maximum < edges[0] * step
    widths = [upper - lower for upper, lower in pairwise(edges)]
    assert max(widths) - min(widths) <= 1
    assert none == [0] * 6
