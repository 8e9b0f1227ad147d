"""What came of a sweep over strengths, as charts: the feature's line, the random directions as a
band, and the marks.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby, zip_longest
from typing import Any, NamedTuple

from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe

from explorer.definitions import DEFINITIONS, Definition
from explorer.plots import svg
from explorer.templatetags.numbers import DASH, written
from features.models import SweepJudgement
from features.models.judgement import HIGHEST

MEASURES = ("concept", "mass", "surprise", "distinct", "damage")
JUDGED = ("concept", "fluency", "both")

Points = Sequence[tuple[float, float | None]]


class Card(NamedTuple):
    """One measure of a sweep."""

    known: Definition
    chart: SafeString


class Row(NamedTuple):
    """One strength: what every measure is, what a judge said of its text, and the text."""

    strength: str
    values: list[str]
    judged: list[str]
    mark: str
    text: str


class _Chart(NamedTuple):
    """One line over strengths, from the least of them or 0 to the greatest: `band` holds (strength,
    least, most) of controls.
    """

    known: Definition
    points: Points
    low: float
    high: float
    band: Sequence[tuple[float, float, float]] = ()
    dots: bool = False

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where it is drawn."""
        left, right = self.ends
        across = svg.LEFT + (x - left) / ((right - left) or 1) * (svg.RIGHT - svg.LEFT)
        return across, svg.BOTTOM - (y - self.low) / (self.high - self.low) * (svg.BOTTOM - svg.TOP)

    def path(self, points: Sequence[tuple[float, float]]) -> str:
        """A line through these."""
        return "L".join("{:.1f} {:.1f}".format(*self.place(*point)) for point in points)

    @property
    def ends(self) -> tuple[float, float]:
        """The strengths at both ends."""
        strengths = [x for x, _ in self.points]
        return min(0.0, *strengths), max(0.0, *strengths)


def cards(dose: Mapping[str, Any]) -> list[Card]:
    """A chart for every measure."""
    return [_card(_measured(name, dose), dose) for name in MEASURES]


def judged_cards(dose: Mapping[str, Any], judgement: SweepJudgement) -> list[Card]:
    """A chart for every score of a judge."""
    return [_card(_judged(name, dose, judgement), dose) for name in JUDGED]


def rows(
    dose: Mapping[str, Any], texts: Sequence[str], judgement: SweepJudgement | None = None
) -> list[Row]:
    """The same numbers as a table, from the default on, each with its text."""
    told = zip(*(getattr(judgement, name) for name in JUDGED), strict=True) if judgement else ()
    marks = {dose["breaks"]: "breaks", dose["best"]: "best dose"}
    found = []
    for place, (text, scores) in enumerate(zip_longest(texts, told, fillvalue=()), -1):
        values = (
            dose["default"]
            if place < 0
            else {name: dose["feature"][name][place] for name in MEASURES}
        )
        found.append(
            Row(
                f"{dose['strengths'][place]:g}" if place >= 0 else "0",
                [written(DEFINITIONS[f"dose_{name}"], values[name]) for name in MEASURES],
                [_score(score) for score in scores],
                marks.get(place, "") if place >= 0 else "default",
                str(text),
            )
        )
    return found


def _measured(name: str, dose: Mapping[str, Any]) -> _Chart:
    strengths, values, zero = dose["strengths"], dose["feature"][name], (0.0, dose["default"][name])
    others = list(zip(*dose["control"][name], strict=True)) or [(value,) for value in values]
    low, high = svg.nice_range([*values, *(value for other in others for value in other), zero[1]])
    band = sorted(
        [
            (*zero, zero[1]),
            *((x, min(other), max(other)) for x, other in zip(strengths, others, strict=True)),
        ]
    )
    points = sorted([zero, *zip(strengths, values, strict=True)])
    return _Chart(DEFINITIONS[f"dose_{name}"], points, low, high, band)


def _judged(name: str, dose: Mapping[str, Any], judgement: SweepJudgement) -> _Chart:
    points = sorted(
        zip([0.0, *dose["strengths"]], getattr(judgement, name), strict=True),
        key=lambda point: point[0],
    )
    return _Chart(DEFINITIONS[f"judge_{name}"], points, 0.0, float(HIGHEST), dots=True)


def _card(chart: _Chart, dose: Mapping[str, Any]) -> Card:
    left, right = chart.ends
    parts = [
        f'<path class="axis" d="M{svg.LEFT} {svg.TOP}V{svg.BOTTOM}H{svg.RIGHT}"/>',
        _band(chart),
        *_line(chart),
        *(_mark(dose, kind, chart) for kind in ("best", "breaks")),
        _label(svg.LEFT - 6, svg.TOP + 6, svg.nice_text(chart.high), "end"),
        _label(svg.LEFT - 6, svg.BOTTOM, svg.nice_text(chart.low), "end"),
        _label(svg.LEFT, svg.CURVE_HEIGHT - 6, f"{left:g}×", "start"),
        _label(svg.RIGHT, svg.CURVE_HEIGHT - 6, f"{right:g}×", "end"),
    ]
    said = "; ".join(
        f"{x:g}×: {_score(y) if chart.dots else written(chart.known, y)}" for x, y in chart.points
    )
    drawn = format_html(
        '<svg class="spark" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>',
        svg.WIDTH,
        svg.CURVE_HEIGHT,
        f"{chart.known.name} by strength. {said}.",
        mark_safe("".join(parts)),
    )
    return Card(chart.known, drawn)


def _band(chart: _Chart) -> str:
    if not chart.band:
        return ""
    top, bottom = ([(x, edges[side]) for x, *edges in chart.band] for side in (1, 0))
    around = f"M{chart.path(top)}L{chart.path(bottom[::-1])}Z"
    return (
        f'<path class="control" d="{around}"><title>random directions of equal norm</title></path>'
    )


def _line(chart: _Chart) -> list[str]:
    """The line, broken where there is no value; with `dots` on the values, as one between two gaps
    has no line.
    """
    known = [
        [(x, y) for x, y in points if y is not None]
        for _, points in groupby(chart.points, lambda p: p[1] is None)
    ]
    parts = [f'<path d="M{chart.path(points)}"/>' for points in known if points]
    if chart.dots:
        for x, y in (point for points in known for point in points):
            across, down = chart.place(x, y)
            said = escape(f"{x:g}×: {_score(y)}")
            parts.append(
                f'<circle cx="{across:.1f}" cy="{down:.1f}" r="2.5"><title>{said}</title></circle>'
            )
    return parts


def _mark(dose: Mapping[str, Any], kind: str, chart: _Chart) -> str:
    strength = None if dose[kind] is None else dose["strengths"][dose[kind]]
    y = None if strength is None else dict(chart.points)[strength]
    if strength is None or (kind == "best" and y is None):
        return ""
    across, down = chart.place(strength, y or 0.0)
    name = escape(f"{DEFINITIONS[f'dose_{kind}'].name}: {strength:g}×")
    if kind == "best":
        return f'<circle cx="{across:.1f}" cy="{down:.1f}" r="4"><title>{name}</title></circle>'
    return (
        f'<path class="breaks" d="M{across:.1f} '
        f'{svg.TOP}V{svg.BOTTOM}"><title>{name}</title></path>'
    )


def _score(score: float | None) -> str:
    return DASH if score is None else f"{score:.3g}"


def _label(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{escape(text)}</text>'
