"""Exact histograms in one pass, without knowing the range in advance.

Each feature has `BINS` equal half-open bins over [0, R), where R is the smallest power of two above
its largest activation so far. For a larger activation, R doubles as often as needed and adjacent
bins are added in pairs. An edge of the new grid is always an edge of the old one, so counts stay
exact. The result depends on which activations were seen and not on their order, so merging shards
is exact too.
"""

import torch
from torch import Tensor

BINS = 64
ROWS = 1 << 14
"""Features whose bins are merged at once: 8 MB for each intermediate result."""
COARSE, FINE = 20, 35
"""Sums are integers, which add up in any order: units of 2**-20, and the remainder in units of
2**-55.
"""
EMPTY = -(1 << 20)
"""The exponent of a feature that has not fired, below that of any float."""


class Histograms:
    """Counts, sums and maxima of absolute activations for `features` features.

    `counts` [features, BINS] int64; `exponents` [features] int64 with R = 2**exponent; `coarse` and
    `fine` [features] int64, the sums in their units; `maxima` [features] float32.

    Sums are exact for activations above 2e-10, in any order, if those of one batch stay below 2**33
    and a feature has fewer than 2**18 activations in it.
    """

    def __init__(self, features: int, device: torch.device | str = "cpu") -> None:
        self.counts = torch.zeros(features, BINS, dtype=torch.int64, device=device)
        self.exponents = torch.full((features,), EMPTY, dtype=torch.int64, device=device)
        self.coarse = torch.zeros(features, dtype=torch.int64, device=device)
        self.fine = torch.zeros_like(self.coarse)
        self.maxima = torch.zeros(features, device=device)

    @property
    def firing_counts(self) -> Tensor:
        """How often each feature fired [features]."""
        return self.counts.sum(1)

    @property
    def totals(self) -> Tensor:
        """The sum of each feature's activations [features], float64."""
        return self.coarse.double() * 2.0**-COARSE + self.fine.double() * 2.0 ** -(COARSE + FINE)

    def grow(self, feature: Tensor, value: Tensor) -> Tensor:
        """Widen the ranges for new activations [n]; return how often each doubled [features]."""
        maxima = self.maxima.scatter_reduce(0, feature, value, "amax")
        return self._fit(maxima, exponents_of(maxima))

    def add(self, feature: Tensor, value: Tensor) -> Tensor:
        """Count activations [n] inside the ranges; return the bin of each [n]."""
        bins = (value.double() * power_of_two(6 - self.exponents)[feature]).long()
        self.counts.view(-1).scatter_add_(0, feature * BINS + bins, torch.ones_like(bins))
        units = value.double() * 2.0**COARSE
        whole = units.floor()
        remainder = ((units - whole) * 2.0**FINE).floor()
        self._add_sums(self._sum(feature, whole).long(), self._sum(feature, remainder).long())
        return bins

    def merge(self, other: "Histograms") -> tuple[Tensor, Tensor]:
        """Add the counts of another shard; return how often its own and the other's ranges doubled,
        [features] each.
        """
        maxima = torch.maximum(self.maxima, other.maxima)
        exponents = torch.maximum(self.exponents, other.exponents)
        other_doublings = doublings(other.exponents, exponents)
        own_doublings = self._fit(maxima, exponents)
        self.counts += merge_bins(other.counts, other_doublings)
        self._add_sums(other.coarse, other.fine)
        return own_doublings, other_doublings

    def _sum(self, feature: Tensor, parts: Tensor) -> Tensor:
        """Sum by feature. The parts are integers that float64 represents exactly, so the order of
        atomic additions does not matter.
        """
        return torch.bincount(feature, parts, len(self.maxima))

    def _add_sums(self, coarse: Tensor, fine: Tensor) -> None:
        fine = self.fine + fine
        self.coarse = self.coarse + coarse + (fine >> FINE)
        self.fine = fine & ((1 << FINE) - 1)

    def _fit(self, maxima: Tensor, exponents: Tensor) -> Tensor:
        shifts = doublings(self.exponents, exponents)
        for grown in shifts.nonzero()[:, 0].split(ROWS):
            self.counts[grown] = merge_bins(self.counts[grown], shifts[grown])
        self.maxima, self.exponents = maxima, exponents
        return shifts


def exponents_of(maxima: Tensor) -> Tensor:
    """Return the smallest e with maximum < 2**e for each of `maxima` [features]; `EMPTY` for 0."""
    return torch.where(maxima > 0, torch.frexp(maxima).exponent.long(), EMPTY)


def power_of_two(exponents: Tensor) -> Tensor:
    """Return exactly 2.0**exponent in float64, for int64 `exponents` clamped to -1022 to 1023."""
    # torch.pow may be off by one rounding.
    return ((exponents.clamp(-1022, 1023) + 1023) << 52).view(torch.float64)


def doublings(old: Tensor, new: Tensor) -> Tensor:
    """Return how often ranges double between exponents `old` and `new`, at most until everything is
    in one bin.
    """
    return (new - old).clamp(0, BINS.bit_length() - 1)


def merge_bins(counts: Tensor, shifts: Tensor) -> Tensor:
    """Return `counts` [n, bins] after row i's range doubled `shifts[i]` times: bin b moves to b >>
    shift.
    """
    target = torch.arange(counts.shape[1], device=counts.device) >> shifts[:, None]
    return torch.zeros_like(counts).scatter_add_(1, target, counts)


def band_edges(maxima: Tensor, exponents: Tensor, grid: int, bands: int) -> Tensor:
    """Divide [0, maximum] into `bands` nearly equal bands whose edges lie on a grid of `grid` bins
    over [0, R).

    Returns int64 [features, bands + 1] in grid steps, falling: band 1 is the highest, edges[b] <=
    activation < edges[b - 1]. A grid step is R / `grid`. Features that never fired get zeros.
    """
    # More than half of `grid`.
    used = (maxima.double() * power_of_two(grid.bit_length() - 1 - exponents)).long() + 1
    used = torch.where(maxima > 0, used, 0)
    parts = torch.arange(bands, -1, -1, device=maxima.device)
    return (2 * used[:, None] * parts + bands) // (2 * bands)
