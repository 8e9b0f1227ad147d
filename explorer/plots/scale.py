"""Scales of plots: round ends, short labels, and no more points than pixels."""

import math
from collections.abc import Sequence

MAX_POINTS = 300
"""A curve is at most as many points wide as it has pixels."""

Point = tuple[float, float]


def thinned(points: Sequence[Point]) -> list[Point]:
    """At most `MAX_POINTS` of the finite points, evenly spaced, with the first and the last."""
    finite = [(x, y) for x, y in points if y is not None and math.isfinite(y)]
    if len(finite) <= MAX_POINTS:
        return finite
    step = (len(finite) - 1) / (MAX_POINTS - 1)
    return [finite[round(i * step)] for i in range(MAX_POINTS)]


def nice_range(values: Sequence[float]) -> tuple[float, float]:
    """The smallest range with round ends that holds all values. It begins at 0 if that wastes less
    than half of it.
    """
    low, high = min(values), max(values)
    if 0 < low <= 0.5 * high:
        low = 0.0
    if low == high:
        low, high = min(low, 0.0), max(high, 0.0) or 1.0
    step = nice_step((high - low) / 4)
    return math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step


def nice_step(size: float) -> float:
    """The smallest of 1, 2, 2.5 or 5 times a power of ten that is at least `size`."""
    power = 10.0 ** math.floor(math.log10(size))
    return next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= size * (1 - 1e-9))


def nice_text(value: float) -> str:
    """An axis label of at most five characters or so: 0.25, 30, 1.2k, 3M."""
    for size, sign in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{sign}"
    return f"{value:.3g}"
