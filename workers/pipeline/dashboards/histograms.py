"""Exact histograms in one pass, without knowing the range beforehand.

Each feature has `BINS` equal half-open bins over [0, R), where R is the smallest power of two above
its largest activation so far. When a larger one comes, R doubles as often as needed and
neighbouring bins are added in pairs: an edge of the new grid is always an edge of the old, so every
count stays exact. The end state depends only on which activations were seen, not on their order, so
that merging two shards is exact too.
"""

import torch
from torch import Tensor

BINS = 64
ROWS = 1 << 14
"""Features whose bins are joined at once: 8 MB for each step of it."""
COARSE, FINE = 20, 35
"""Sums are kept in whole units of 2**-20, and what is below in units of 2**-55: integers, which add
up in any order.
"""
EMPTY = -(1 << 20)
"""The exponent of a feature that has not fired: below that of any float."""


class Histograms:
    """Counts, sums and maxima of positive activations for `features` features.

    `counts` [features, BINS] int64; `exponents` [features] int64 with R = 2**exponent; `coarse` and
    `fine` [features] int64, the sums in their units; `maxima` [features] float32. Sums are exact
    for activations above 2e-10, and do not depend on the order, as long as those of one batch stay
    below 2**33 and there are fewer than 2**18 firings of a feature in it.
    """

    def __init__(self, features: int, device: torch.device | str = "cpu") -> None:
        self.counts = torch.zeros(features, BINS, dtype=torch.int64, device=device)
        self.exponents = torch.full((features,), EMPTY, dtype=torch.int64, device=device)
        self.coarse = torch.zeros(features, dtype=torch.int64, device=device)
        self.fine = torch.zeros_like(self.coarse)
        self.maxima = torch.zeros(features, device=device)

    @property
    def fires(self) -> Tensor:
        """How often each feature fired [features]."""
        return self.counts.sum(1)

    @property
    def totals(self) -> Tensor:
        """The sum of each feature's activations [features], float64."""
        return self.coarse.double() * 2.0**-COARSE + self.fine.double() * 2.0 ** -(COARSE + FINE)

    def grow(self, feature: Tensor, value: Tensor) -> Tensor:
        """Widen each range to hold new activations; return how often each doubled [features]."""
        maxima = self.maxima.scatter_reduce(0, feature, value, "amax")
        return self._fit(maxima, exponents_of(maxima))

    def add(self, feature: Tensor, value: Tensor) -> Tensor:
        """Count activations that the ranges already hold; return the bin of each [n]."""
        bins = (value.double() * power_of_two(6 - self.exponents)[feature]).long()
        self.counts.view(-1).scatter_add_(0, feature * BINS + bins, torch.ones_like(bins))
        units = value.double() * 2.0**COARSE
        whole = units.floor()
        self._add_sums(
            *(
                self._sum(feature, part).long()
                for part in (whole, ((units - whole) * 2.0**FINE).floor())
            )
        )
        return bins

    def merge(self, other: "Histograms") -> tuple[Tensor, Tensor]:
        """Add another shard's counts; return how often the range of each side doubled, [features]
        each.
        """
        maxima = torch.maximum(self.maxima, other.maxima)
        exponents = torch.maximum(self.exponents, other.exponents)
        theirs = doublings(other.exponents, exponents)
        ours = self._fit(maxima, exponents)
        self.counts += halve(other.counts, theirs)
        self._add_sums(other.coarse, other.fine)
        return ours, theirs

    def _sum(self, feature: Tensor, parts: Tensor) -> Tensor:
        """Sum integers that float64 holds by feature: no sum is rounded, so atomic additions may
        come in any order.
        """
        return torch.bincount(feature, parts, len(self.maxima))

    def _add_sums(self, coarse: Tensor, fine: Tensor) -> None:
        fine = self.fine + fine
        self.coarse = self.coarse + coarse + (fine >> FINE)
        self.fine = fine & ((1 << FINE) - 1)

    def _fit(self, maxima: Tensor, exponents: Tensor) -> Tensor:
        shifts = doublings(self.exponents, exponents)
        for grown in shifts.nonzero()[:, 0].split(ROWS):
            self.counts[grown] = halve(self.counts[grown], shifts[grown])
        self.maxima, self.exponents = maxima, exponents
        return shifts


def exponents_of(maxima: Tensor) -> Tensor:
    """Return the smallest e with maximum < 2**e for each of `maxima` [features]; `EMPTY` where it
    is zero.
    """
    return torch.where(maxima > 0, torch.frexp(maxima).exponent.long(), EMPTY)


def power_of_two(exponents: Tensor) -> Tensor:
    """Return exactly 2.0**exponent in float64, for int64 `exponents` kept within -1022 to 1023."""
    return ((exponents.clamp(-1022, 1023) + 1023) << 52).view(
        torch.float64
    )  # pow may be off by a rounding


def doublings(old: Tensor, new: Tensor) -> Tensor:
    """Return how often ranges double between exponents `old` and `new`, at most until one bin holds
    everything.
    """
    return (new - old).clamp(0, BINS.bit_length() - 1)


def halve(counts: Tensor, shifts: Tensor) -> Tensor:
    """Return `counts` [n, bins] after row i's range doubled `shifts[i]` times: bin b moves to b >>
    shift.
    """
    target = torch.arange(counts.shape[1], device=counts.device) >> shifts[:, None]
    return torch.zeros_like(counts).scatter_add_(1, target, counts)


def band_edges(maxima: Tensor, exponents: Tensor, grid: int, bands: int) -> Tensor:
    """Cut [0, maximum] into `bands` nearly equal bands whose edges lie on a grid of `grid` bins
    over [0, R).

    Returns int64 [features, bands + 1] in grid steps, falling: band 1 is the highest, edges[b] <=
    activation < edges[b - 1]. A grid step is R / `grid`. Features that never fired get zeros.
    """
    used = (
        maxima.double() * power_of_two(grid.bit_length() - 1 - exponents)
    ).long() + 1  # more than half of `grid`
    used = torch.where(maxima > 0, used, 0)
    parts = torch.arange(bands, -1, -1, device=maxima.device)
    return (2 * used[:, None] * parts + bands) // (2 * bands)
