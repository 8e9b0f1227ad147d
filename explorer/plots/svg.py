"""Plots as inline SVG: pure functions from numbers to markup, each with a text alternative."""

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple

from django.utils.html import format_html
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
    heights: Sequence[float],
    hints: Sequence[str],
    ticks: Iterable[Tick],
    alternative: str,
    kind: str = "",
    mark: Tick | None = None,
) -> SafeString:
    """Bars over the whole width, as high as `heights` says relative to the highest; `hints` show on
    hover.

    A `mark` is a line across the plot, whose text shows on hover.
    """
    step, top = WIDTH / max(len(heights), 1), max(heights, default=0) or 1
    parts, wide = [], f"{max(step - 1, 0.5):.1f}"
    for i, (height, hint) in enumerate(zip(heights, hints, strict=True)):
        tall, x = height / top * (BASE - 4), f"{i * step:.1f}"
        if height:
            parts.append(
                f'<rect x="{x}" y="{BASE - tall:.1f}" width="{wide}" height="{tall:.1f}" rx="1"/>'
            )
        parts.append(
            f'<rect class="hit" x="{x}" y="0" width="{wide}" '
            f'height="{BASE}"><title>{escape(hint)}</title></rect>'
        )
    parts += [
        _label(tick.at * WIDTH, BAR_HEIGHT - 2, tick.text, _anchor(tick.at)) for tick in ticks
    ]
    if mark:
        x = f"{min(max(mark.at, 0), 1) * (WIDTH - 2) + 1:.1f}"
        parts.append(
            f'<path class="mark" d="M{x} 0V{BASE}"><title>{escape(mark.text)}</title></path>'
        )
    return format_html(
        '<svg class="plot {}" viewBox="0 0 {} {}" role="img" aria-label="{}">{}<line x1="0" '
        'x2="{}" y1="{}" y2="{}"/></svg>',
        kind,
        WIDTH,
        BAR_HEIGHT,
        alternative,
        mark_safe("".join(parts)),
        WIDTH,
        BASE + 0.5,
        BASE + 0.5,
    )


class Linked(NamedTuple):
    """What a bar says, and the address that it leads to."""

    hint: str
    url: str


def linked_bars(
    heights: Sequence[float], links: Sequence[Linked], ticks: Iterable[Tick], name: str
) -> SafeString:
    """The same bars, each a link: a group of links with a name, as what is an image has nothing
    inside that can be reached.
    """
    step, top = WIDTH / max(len(heights), 1), max(heights, default=0) or 1
    parts, wide = [], f"{max(step - 1, 0.5):.1f}"
    for i, (height, link) in enumerate(zip(heights, links, strict=True)):
        tall = max(height / top * (BASE - 4), 1.5 if height else 0)
        x = f"{i * step:.1f}"
        parts.append(
            f'<a href="{escape(link.url)}" '
            f'aria-label="{escape(link.hint)}"><title>{escape(link.hint)}</title>'
            f'<rect x="{x}" y="{BASE - tall:.1f}" width="{wide}" height="{tall:.1f}" rx="1"/>'
            f'<rect class="hit" x="{x}" y="0" width="{wide}" height="{BASE}"/></a>'
        )
    parts += [
        _label(tick.at * WIDTH, BAR_HEIGHT - 2, tick.text, _anchor(tick.at)) for tick in ticks
    ]
    return format_html(
        '<svg class="plot quiet" viewBox="0 0 {} {}" role="group" aria-label="{}">{}<line x1="0" '
'x2="{}" y1="{}" y2="{}"/></svg>',
        WIDTH, BAR_HEIGHT, name, mark_safe("".join(parts)), WIDTH, BASE + 0.5, BASE + 0.5,
    )  # fmt: skip


class Line(NamedTuple):
    """One line of a plot: (x, y) points, what it is called, and its look (a CSS class; empty for
    the plot's own, filled).
    """

    points: Sequence[Point]
    name: str = ""
    look: str = ""


def curve(
    lines: Sequence[Line], alternative: str, x_text: str, write_y: object = None
) -> SafeString:
    """Lines with the ticks of their common range at the left. The first is on top."""
    lines = [line._replace(points=thinned(line.points)) for line in lines]
    every = [point for line in lines for point in line.points]
    if not every:
        return format_html('<p class="empty">{}</p>', "No values yet.")
    low, high = nice_range([y for _, y in every])
    right = max(x for x, _ in every) or 1
    write = write_y if callable(write_y) else nice_text

    def place(x: float, y: float) -> str:
        return (
            f"{LEFT + x / right * (RIGHT - LEFT):.1f} "
            f"{BOTTOM - (y - low) / (high - low) * (BOTTOM - TOP):.1f}"
        )

    parts = [f'<path class="axis" d="M{LEFT} {TOP}V{BOTTOM}H{RIGHT}"/>']
    for line in reversed(lines):
        parts += _drawn(line, [place(*point) for point in line.points], BOTTOM)
    parts += [
        _label(LEFT - 6, TOP + 6, write(high), "end"),
        _label(LEFT - 6, BOTTOM, write(low), "end"),
    ]
    parts += [
        _label(LEFT, CURVE_HEIGHT - 6, "0", "start"),
        _label(RIGHT, CURVE_HEIGHT - 6, x_text, "end"),
    ]
    return format_html(
        '<svg class="spark" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>',
        WIDTH, CURVE_HEIGHT, alternative, mark_safe("".join(parts)),
    )  # fmt: skip


def _drawn(line: Line, places: Sequence[str], bottom: int) -> list[str]:
    """A line with its name on hover; a single point as a dot."""
    title = f"<title>{escape(line.name)}</title>" if line.name else ""
    look = f' class="{line.look}"' if line.look else ""
    if len(places) == 1:
        return [_dot(places[0], line.look, title)]
    if not places:
        return []
    path = "M" + "L".join(places)
    ends = f"L{places[-1].split()[0]} {bottom}L{places[0].split()[0]} {bottom}Z"
    fill = [] if line.look else [f'<path class="fill" d="{path}{ends}"/>']
    return [
        *fill,
        f'<path{look} d="{path}">{title}</path>' if title else f'<path{look} d="{path}"/>',
    ]


class Spot(NamedTuple):
    """One point of a scatter plot, what it is called, its look (a CSS class), and the page that it
    links to.
    """

    x: float
    y: float
    name: str
    look: str = ""
    url: str = ""


def scatter(spots: Sequence[Spot], x_name: str, y_name: str, alternative: str) -> SafeString:
    """Spots over two axes with round ends, each with its name on hover."""
    left, right = nice_range([spot.x for spot in spots])
    low, high = nice_range([spot.y for spot in spots])
    parts = [f'<path class="axis" d="M{LEFT} {TOP}V{BOTTOM}H{RIGHT}"/>']
    for spot in spots:
        x = LEFT + (spot.x - left) / (right - left) * (RIGHT - LEFT)
        y = BOTTOM - (spot.y - low) / (high - low) * (BOTTOM - TOP)
        dot = _dot(f"{x:.1f} {y:.1f}", spot.look, f"<title>{escape(spot.name)}</title>")
        parts.append(
            f'<a href="{escape(spot.url)}" aria-label="{escape(spot.name)}">{dot}</a>'
            if spot.url
            else dot
        )
    parts += [
        _label(LEFT - 6, TOP + 6, nice_text(high), "end"),
        _label(LEFT - 6, BOTTOM, nice_text(low), "end"),
    ]
    parts += [
        _label(LEFT + 6, TOP + 6, y_name, "start"),
        _label((LEFT + RIGHT) / 2, CURVE_HEIGHT - 6, x_name, "middle"),
    ]
    parts += [_label(LEFT, CURVE_HEIGHT - 6, nice_text(left), "start")]
    parts += [_label(RIGHT, CURVE_HEIGHT - 6, nice_text(right), "end")]
    return format_html(
        '<svg class="spark scatter" viewBox="0 0 {} {}" role="{}" aria-label="{}">{}</svg>',
        WIDTH,
        CURVE_HEIGHT,
        "group" if any(spot.url for spot in spots) else "img",
        alternative,
        mark_safe("".join(parts)),
    )


def thinned(points: Sequence[Point]) -> list[Point]:
    """Finite points, at most `MOST_POINTS` of them, evenly drawn; the first and the last stay."""
    finite = [(x, y) for x, y in points if y is not None and math.isfinite(y)]
    if len(finite) <= MOST_POINTS:
        return finite
    step = (len(finite) - 1) / (MOST_POINTS - 1)
    return [finite[round(i * step)] for i in range(MOST_POINTS)]


def nice_range(values: Sequence[float]) -> tuple[float, float]:
    """The smallest range with round ends that holds all values; it begins at 0 where that wastes
    less than half.
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


def _anchor(at: float) -> str:
    return "start" if at <= 0.02 else "end" if at >= 0.98 else "middle"


def _label(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{escape(text)}</text>'


def _dot(place: str, look: str = "", title: str = "") -> str:
    x, y = place.split()
    known = f' class="{look}"' if look else ""
    return (
        f'<circle{known} cx="{x}" cy="{y}" r="3">{title}</circle>'
        if title
        else f'<circle{known} cx="{x}" cy="{y}" r="3"/>'
    )
