"""Plots as inline SVG: pure functions from numbers to markup, each with a text alternative."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe

WIDTH, BAR_HEIGHT, BASE = 340, 86, 70
CURVE_HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 110, 36, 8, 336, 88
MOST_POINTS = 300
"""A curve is at most as many points wide as it has pixels."""

Point = tuple[float, float]


class Tick(NamedTuple):
    """A label below a bar plot: `at` is from 0 (left) to 1 (right)."""

    at: float
    text: str


def bars(
    heights: Sequence[float], hints: Sequence[str], ticks: Iterable[Tick], alternative: str, kind: str = ""
) -> SafeString:
    """Bars over the whole width, as high as `heights` says relative to the highest; `hints` show on hover."""
    step, top = WIDTH / max(len(heights), 1), max(heights, default=0) or 1
    parts = []
    for i, (height, hint) in enumerate(zip(heights, hints, strict=True)):
        tall = height / top * (BASE - 4)
        x, wide = f"{i * step:.1f}", f"{max(step - 1, 0.5):.1f}"
        if height:
            parts.append(f'<rect x="{x}" y="{BASE - tall:.1f}" width="{wide}" height="{tall:.1f}" rx="1"/>')
        parts.append(
            f'<rect class="hit" x="{x}" y="0" width="{wide}" height="{BASE}"><title>{escape(hint)}</title></rect>'
        )
    parts += [_label(tick.at * WIDTH, BAR_HEIGHT - 2, tick.text, _anchor(tick.at)) for tick in ticks]
    return format_html(
        '<svg class="plot {}" viewBox="0 0 {} {}" role="img" aria-label="{}">{}<line x1="0" x2="{}" y1="{}" y2="{}"/></svg>',
        kind, WIDTH, BAR_HEIGHT, alternative, mark_safe("".join(parts)), WIDTH, BASE + 0.5, BASE + 0.5,
    )  # fmt: skip


def curve(
    points: Sequence[Point], ghost: Sequence[Point], alternative: str, x_text: str, write_y: object = None
) -> SafeString:
    """A filled line with the ticks of its range at the left; `ghost` is a dashed one to compare with."""
    points, ghost = thinned(points), thinned(ghost)
    both = [*points, *ghost]
    if not both:
        return format_html('<p class="empty">{}</p>', "No values yet.")
    low, high = nice_range([y for _, y in both])
    right = max(x for x, _ in both) or 1
    write = write_y if callable(write_y) else nice_text

    def place(x: float, y: float) -> str:
        return f"{LEFT + x / right * (RIGHT - LEFT):.1f} {BOTTOM - (y - low) / (high - low) * (BOTTOM - TOP):.1f}"

    def path(line: Sequence[Point]) -> str:
        return "M" + "L".join(place(x, y) for x, y in line)

    parts = [f'<path class="axis" d="M{LEFT} {TOP}V{BOTTOM}H{RIGHT}"/>']
    if len(points) > 1:
        ends = f"L{place(points[-1][0], low)}L{place(points[0][0], low)}Z"
        parts.append(f'<path class="fill" d="{path(points)}{ends}"/>')
    if len(ghost) > 1:
        parts.append(f'<path class="ghost" d="{path(ghost)}"/>')
    parts.append(f'<path d="{path(points)}"/>' if len(points) > 1 else "")
    parts += [_dot(place(*point)) for point in points[:1] if len(points) == 1]
    parts += [_label(LEFT - 6, TOP + 6, write(high), "end"), _label(LEFT - 6, BOTTOM, write(low), "end")]
    parts += [_label(LEFT, CURVE_HEIGHT - 6, "0", "start"), _label(RIGHT, CURVE_HEIGHT - 6, x_text, "end")]
    return format_html(
        '<svg class="spark" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>',
        WIDTH, CURVE_HEIGHT, alternative, mark_safe("".join(parts)),
    )  # fmt: skip


def thinned(points: Sequence[Point]) -> list[Point]:
    """Finite points, at most `MOST_POINTS` of them, evenly drawn; the first and the last stay."""
    finite = [(x, y) for x, y in points if y is not None and math.isfinite(y)]
    if len(finite) <= MOST_POINTS:
        return finite
    step = (len(finite) - 1) / (MOST_POINTS - 1)
    return [finite[round(i * step)] for i in range(MOST_POINTS)]


def nice_range(values: Sequence[float]) -> tuple[float, float]:
    """The smallest range with round ends that holds all values; it begins at 0 where that wastes less than half."""
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


def _anchor(at: float) -> str:
    return "start" if at <= 0.02 else "end" if at >= 0.98 else "middle"


def _label(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{escape(text)}</text>'


def _dot(place: str) -> str:
    x, y = place.split()
    return f'<circle cx="{x}" cy="{y}" r="3"/>'
