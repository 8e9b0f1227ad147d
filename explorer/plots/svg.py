"""Plots as inline SVG: pure functions from numbers to markup, each with a text alternative."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple

from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from explorer.plots.scale import Point, nice_range, nice_text, thinned

WIDTH, BAR_HEIGHT, BASE = 340, 86, 70
BAR_HEIGHT_MOST = BASE - 4
CURVE_HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 110, 36, 8, 336, 88
AXES = f'<path class="axis" d="M{LEFT} {TOP}V{BOTTOM}H{RIGHT}"/>'


class Tick(NamedTuple):
    """A label below a bar plot: `at` is from 0 (left) to 1 (right)."""

    at: float
    text: str


class Linked(NamedTuple):
    """The hint of a bar, and the URL that it links to."""

    hint: str
    url: str


def bars(
    heights: Sequence[float],
    hints: Sequence[str],
    ticks: Iterable[Tick],
    alternative: str,
    kind: str = "",
    mark: Tick | None = None,
) -> SafeString:
    """Bars over the whole width, scaled to the highest; `hints` show on hover.

    A `mark` is a line across the plot, whose text shows on hover.
    """
    scale = BAR_HEIGHT_MOST / (max(heights, default=0) or 1)
    parts = []
    for i, (height, hint) in enumerate(zip(heights, hints, strict=True)):
        if height:
            parts.append(_bar(i, len(heights), height * scale))
        parts.append(_hit_area(i, len(heights), f"<title>{escape(hint)}</title>"))
    parts += [label(tick.at * WIDTH, BAR_HEIGHT - 2, tick.text, _anchor(tick.at)) for tick in ticks]
    if mark:
        x = f"{min(max(mark.at, 0), 1) * (WIDTH - 2) + 1:.1f}"
        parts.append(
            f'<path class="mark" d="M{x} 0V{BASE}"><title>{escape(mark.text)}</title></path>'
        )
    return _bar_plot(parts, kind, "img", alternative)


def linked_bars(
    heights: Sequence[float], links: Sequence[Linked], ticks: Iterable[Tick], name: str
) -> SafeString:
    """The same bars, each a link. The plot is a named group: inside an image no link can be
    reached.
    """
    scale = BAR_HEIGHT_MOST / (max(heights, default=0) or 1)
    parts = []
    for i, (height, link) in enumerate(zip(heights, links, strict=True)):
        tall = max(height * scale, 1.5 if height else 0)
        parts.append(
            f'<a href="{escape(link.url)}" '
            f'aria-label="{escape(link.hint)}"><title>{escape(link.hint)}</title>'
            f"{_bar(i, len(heights), tall)}{_hit_area(i, len(heights))}</a>"
        )
    parts += [label(tick.at * WIDTH, BAR_HEIGHT - 2, tick.text, _anchor(tick.at)) for tick in ticks]
    return _bar_plot(parts, "quiet", "group", name)


def _bar(i: int, count: int, tall: float) -> str:
    x, width = _column(i, count)
    return f'<rect x="{x}" y="{BASE - tall:.1f}" width="{width}" height="{tall:.1f}" rx="1"/>'


def _hit_area(i: int, count: int, title: str = "") -> str:
    """Covers the whole column, so that low bars can be hovered too."""
    x, width = _column(i, count)
    rect = f'<rect class="hit" x="{x}" y="0" width="{width}" height="{BASE}"'
    return f"{rect}>{title}</rect>" if title else f"{rect}/>"


def _column(i: int, count: int) -> tuple[str, str]:
    """Left edge and width of one of `count` bars."""
    step = WIDTH / max(count, 1)
    return f"{i * step:.1f}", f"{max(step - 1, 0.5):.1f}"


def _bar_plot(parts: Sequence[str], kind: str, role: str, name: str) -> SafeString:
    return format_html(
        '<svg class="plot {}" viewBox="0 0 {} {}" role="{}" aria-label="{}">{}<line x1="0" '
        'x2="{}" y1="{}" y2="{}"/></svg>',
        kind, WIDTH, BAR_HEIGHT, role, name, mark_safe("".join(parts)),
        WIDTH, BASE + 0.5, BASE + 0.5,
    )  # fmt: skip


class Line(NamedTuple):
    """One line of a plot: its points (x, y), its name, and its CSS class (empty: the plot's own,
    filled).
    """

    points: Sequence[Point]
    name: str = ""
    look: str = ""


def curve(
    lines: Sequence[Line], alternative: str, x_text: str, write_y: object = None
) -> SafeString:
    """Lines over one range, which is labelled at the left. The first line is on top."""
    lines = [line._replace(points=thinned(line.points)) for line in lines]
    points = [point for line in lines for point in line.points]
    if not points:
        return format_html('<p class="empty">{}</p>', "No values yet.")
    low, high = nice_range([y for _, y in points])
    right = max(x for x, _ in points) or 1
    write = write_y if callable(write_y) else nice_text

    def xy(x: float, y: float) -> str:
        return (
            f"{LEFT + x / right * (RIGHT - LEFT):.1f} "
            f"{BOTTOM - (y - low) / (high - low) * (BOTTOM - TOP):.1f}"
        )

    parts = [AXES]
    for line in reversed(lines):
        parts += _path(line, [xy(*point) for point in line.points])
    parts += axis_labels("0", x_text, write(low), write(high))
    return format_html(
        '<svg class="spark" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>',
        WIDTH, CURVE_HEIGHT, alternative, mark_safe("".join(parts)),
    )  # fmt: skip


def _path(line: Line, points: Sequence[str]) -> list[str]:
    """A line with its name on hover; a single point is a dot."""
    title = f"<title>{escape(line.name)}</title>" if line.name else ""
    look = f' class="{line.look}"' if line.look else ""
    if len(points) == 1:
        return [_dot(points[0], line.look, title)]
    if not points:
        return []
    path = "M" + "L".join(points)
    ends = f"L{points[-1].split()[0]} {BOTTOM}L{points[0].split()[0]} {BOTTOM}Z"
    fill = [] if line.look else [f'<path class="fill" d="{path}{ends}"/>']
    return [
        *fill,
        f'<path{look} d="{path}">{title}</path>' if title else f'<path{look} d="{path}"/>',
    ]


class Spot(NamedTuple):
    """One point of a scatter plot: its name, its CSS class, and the page that it links to."""

    x: float
    y: float
    name: str
    look: str = ""
    url: str = ""


def scatter(spots: Sequence[Spot], x_name: str, y_name: str, alternative: str) -> SafeString:
    """Points over two axes with round ends, each with its name on hover."""
    left, right = nice_range([spot.x for spot in spots])
    low, high = nice_range([spot.y for spot in spots])
    parts = [AXES]
    for spot in spots:
        x = LEFT + (spot.x - left) / (right - left) * (RIGHT - LEFT)
        y = BOTTOM - (spot.y - low) / (high - low) * (BOTTOM - TOP)
        dot = _dot(f"{x:.1f} {y:.1f}", spot.look, f"<title>{escape(spot.name)}</title>")
        parts.append(
            f'<a href="{escape(spot.url)}" aria-label="{escape(spot.name)}">{dot}</a>'
            if spot.url
            else dot
        )
    parts += axis_labels(nice_text(left), nice_text(right), nice_text(low), nice_text(high))
    parts += [
        label(LEFT + 6, TOP + 6, y_name, "start"),
        label((LEFT + RIGHT) / 2, CURVE_HEIGHT - 6, x_name, "middle"),
    ]
    return format_html(
        '<svg class="spark scatter" viewBox="0 0 {} {}" role="{}" aria-label="{}">{}</svg>',
        WIDTH,
        CURVE_HEIGHT,
        "group" if any(spot.url for spot in spots) else "img",
        alternative,
        mark_safe("".join(parts)),
    )


def _anchor(at: float) -> str:
    return "start" if at <= 0.02 else "end" if at >= 0.98 else "middle"


def label(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{escape(text)}</text>'


def axis_labels(left: str, right: str, low: str, high: str) -> list[str]:
    """The ends of both axes of a plot with `AXES`."""
    return [
        label(LEFT - 6, TOP + 6, high, "end"),
        label(LEFT - 6, BOTTOM, low, "end"),
        label(LEFT, CURVE_HEIGHT - 6, left, "start"),
        label(RIGHT, CURVE_HEIGHT - 6, right, "end"),
    ]


def _dot(point: str, look: str = "", title: str = "") -> str:
    x, y = point.split()
    css_class = f' class="{look}"' if look else ""
    circle = f'<circle{css_class} cx="{x}" cy="{y}" r="3"'
    return f"{circle}>{title}</circle>" if title else f"{circle}/>"
