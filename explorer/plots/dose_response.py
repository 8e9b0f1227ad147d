"""Charts of a sweep over strengths: the feature as a line, the random directions as a band, and
marks for the best and the breaking strength.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby, zip_longest
from typing import Any, NamedTuple

from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe

from explorer.definitions import DEFINITIONS, Definition
from explorer.definitions.formats import DASH, format_value
from explorer.plots import scale, svg
from features.models import SweepJudgement
from features.models.judgement import HIGHEST

MEASURES = ("concept", "mass", "surprise", "distinct", "damage")
JUDGED = ("concept", "fluency", "both")

Points = Sequence[tuple[float, float | None]]


class Card(NamedTuple):
    """One measure of a sweep."""

    definition: Definition
    chart: SafeString


class Row(NamedTuple):
    """One strength: its measures, the scores of a judge, and its text."""

    strength: str
    values: list[str]
    judged: list[str]
    mark: str
    text: str


class _Chart(NamedTuple):
    """A line over strengths; `band` holds (strength, least, most) of the controls."""

    definition: Definition
    points: Points
    low: float
    high: float
    band: Sequence[tuple[float, float, float]] = ()
    dots: bool = False

    def xy(self, x: float, y: float) -> tuple[float, float]:
        """The coordinates of a value in the SVG."""
        left, right = self.ends
        across = svg.LEFT + (x - left) / ((right - left) or 1) * (svg.RIGHT - svg.LEFT)
        return across, svg.BOTTOM - (y - self.low) / (self.high - self.low) * (svg.BOTTOM - svg.TOP)

    def path(self, points: Sequence[tuple[float, float]]) -> str:
        return "L".join("{:.1f} {:.1f}".format(*self.xy(*point)) for point in points)

    @property
    def ends(self) -> tuple[float, float]:
        """The least strength or 0, and the greatest."""
        strengths = [x for x, _ in self.points]
        return min(0.0, *strengths), max(0.0, *strengths)


def cards(dose: Mapping[str, Any]) -> list[Card]:
    return [_card(_measured(name, dose), dose) for name in MEASURES]


def judged_cards(dose: Mapping[str, Any], judgement: SweepJudgement) -> list[Card]:
    return [_card(_judged(name, dose, judgement), dose) for name in JUDGED]


def rows(
    dose: Mapping[str, Any], texts: Sequence[str], judgement: SweepJudgement | None = None
) -> list[Row]:
    """The same numbers as a table: the default, then each strength, with their texts."""
    scored = zip(*(getattr(judgement, name) for name in JUDGED), strict=True) if judgement else ()
    marks = {dose["breaks"]: "breaks", dose["best"]: "best dose"}
    table = []
    for i, (text, scores) in enumerate(zip_longest(texts, scored, fillvalue=()), -1):
        values = dose["default"] if i < 0 else {name: dose["feature"][name][i] for name in MEASURES}
        table.append(
            Row(
                f"{dose['strengths'][i]:g}" if i >= 0 else "0",
                [format_value(DEFINITIONS[f"dose_{name}"], values[name]) for name in MEASURES],
                [_score(score) for score in scores],
                marks.get(i, "") if i >= 0 else "default",
                str(text),
            )
        )
    return table


def _measured(name: str, dose: Mapping[str, Any]) -> _Chart:
    strengths, values, zero = dose["strengths"], dose["feature"][name], (0.0, dose["default"][name])
    others = list(zip(*dose["control"][name], strict=True)) or [(value,) for value in values]
    low, high = scale.nice_range(
        [*values, *(value for other in others for value in other), zero[1]]
    )
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
        svg.AXES,
        _band(chart),
        *_line(chart),
        *(_mark(dose, kind, chart) for kind in ("best", "breaks")),
        *svg.axis_labels(
            f"{left:g}×", f"{right:g}×", scale.nice_text(chart.low), scale.nice_text(chart.high)
        ),
    ]
    values = "; ".join(
        f"{x:g}×: {_score(y) if chart.dots else format_value(chart.definition, y)}"
        for x, y in chart.points
    )
    drawing = format_html(
        '<svg class="spark" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>',
        svg.WIDTH,
        svg.CURVE_HEIGHT,
        f"{chart.definition.name} by strength. {values}.",
        mark_safe("".join(parts)),
    )
    return Card(chart.definition, drawing)


def _band(chart: _Chart) -> str:
    if not chart.band:
        return ""
    top, bottom = ([(x, edges[side]) for x, *edges in chart.band] for side in (1, 0))
    around = f"M{chart.path(top)}L{chart.path(bottom[::-1])}Z"
    return (
        f'<path class="control" d="{around}"><title>random directions of equal norm</title></path>'
    )


def _line(chart: _Chart) -> list[str]:
    """The line, interrupted where a value is missing. With `dots` the values show as well: one
    between two gaps has no line.
    """
    segments = [
        [(x, y) for x, y in points if y is not None]
        for _, points in groupby(chart.points, lambda p: p[1] is None)
    ]
    parts = [f'<path d="M{chart.path(points)}"/>' for points in segments if points]
    if chart.dots:
        for x, y in (point for points in segments for point in points):
            across, down = chart.xy(x, y)
            value = escape(f"{x:g}×: {_score(y)}")
            parts.append(
                f'<circle cx="{across:.1f}" cy="{down:.1f}" r="2.5"><title>{value}</title></circle>'
            )
    return parts


def _mark(dose: Mapping[str, Any], kind: str, chart: _Chart) -> str:
    strength = None if dose[kind] is None else dose["strengths"][dose[kind]]
    y = None if strength is None else dict(chart.points)[strength]
    if strength is None or (kind == "best" and y is None):
        return ""
    across, down = chart.xy(strength, y or 0.0)
    name = escape(f"{DEFINITIONS[f'dose_{kind}'].name}: {strength:g}×")
    if kind == "best":
        return f'<circle cx="{across:.1f}" cy="{down:.1f}" r="4"><title>{name}</title></circle>'
    return (
        f'<path class="breaks" d="M{across:.1f} '
        f'{svg.TOP}V{svg.BOTTOM}"><title>{name}</title></path>'
    )


def _score(score: float | None) -> str:
    return DASH if score is None else f"{score:.3g}"
