"""What came of a sweep over strengths, as charts: the feature's line, the random directions as a band, and the marks."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe

from explorer import svg
from explorer.definitions import DEFINITIONS, Definition
from explorer.templatetags.numbers import written

MEASURES = ("concept", "mass", "surprise", "distinct", "damage")


class Card(NamedTuple):
    """One measure of a sweep."""

    known: Definition
    chart: SafeString


class Row(NamedTuple):
    """One strength: what every measure is, and that of the controls' mean."""

    strength: float
    values: list[str]
    mark: str


def cards(dose: Mapping[str, Any]) -> list[Card]:
    """A chart for every measure."""
    return [Card(DEFINITIONS[f"dose_{name}"], _chart(name, dose)) for name in MEASURES]


def rows(dose: Mapping[str, Any]) -> list[Row]:
    """The same numbers as a table, from the default on."""
    found = [Row(0.0, [_told(name, dose["default"][name]) for name in MEASURES], "default")]
    for place, strength in enumerate(dose["strengths"]):
        mark = "best dose" if place == dose["best"] else "breaks" if place == dose["breaks"] else ""
        found.append(Row(strength, [_told(name, dose["feature"][name][place]) for name in MEASURES], mark))
    return found


def _told(name: str, value: float) -> str:
    return written(DEFINITIONS[f"dose_{name}"], value)


def _chart(name: str, dose: Mapping[str, Any]) -> SafeString:
    strengths, values = dose["strengths"], dose["feature"][name]
    others = list(zip(*dose["control"][name], strict=True)) or [(value,) for value in values]
    every = [*values, *(value for other in others for value in other), dose["default"][name]]
    low, high = svg.nice_range(every)
    left, right = min(0.0, *strengths), max(0.0, *strengths)

    def place(x: float, y: float) -> str:
        across = svg.LEFT + (x - left) / ((right - left) or 1) * (svg.RIGHT - svg.LEFT)
        return f"{across:.1f} {svg.BOTTOM - (y - low) / (high - low) * (svg.BOTTOM - svg.TOP):.1f}"

    def path(points: Sequence[tuple[float, float]]) -> str:
        return "L".join(place(*point) for point in points)

    zero = (0.0, dose["default"][name])
    line = sorted([zero, *zip(strengths, values, strict=True)])
    top = sorted([zero, *((x, max(other)) for x, other in zip(strengths, others, strict=True))])
    bottom = sorted([zero, *((x, min(other)) for x, other in zip(strengths, others, strict=True))])
    parts = [
        f'<path class="axis" d="M{svg.LEFT} {svg.TOP}V{svg.BOTTOM}H{svg.RIGHT}"/>',
        f'<path class="control" d="M{path(top)}L{path(bottom[::-1])}Z"><title>random directions of equal norm</title></path>',
        f'<path d="M{path(line)}"/>',
        *(_mark(dose, kind, place, values) for kind in ("best", "breaks")),
        _label(svg.LEFT - 6, svg.TOP + 6, svg.nice_text(high), "end"),
        _label(svg.LEFT - 6, svg.BOTTOM, svg.nice_text(low), "end"),
        _label(svg.LEFT, svg.CURVE_HEIGHT - 6, f"{left:g}×", "start"),
        _label(svg.RIGHT, svg.CURVE_HEIGHT - 6, f"{right:g}×", "end"),
    ]
    said = "; ".join(f"{x:g}×: {_told(name, y)}" for x, y in line)
    return format_html(
        '<svg class="spark" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>',
        svg.WIDTH, svg.CURVE_HEIGHT, f"{DEFINITIONS[f'dose_{name}'].name} by strength. {said}.", mark_safe("".join(parts)),
    )  # fmt: skip


def _mark(dose: Mapping[str, Any], kind: str, place: Any, values: Sequence[float]) -> str:
    at = dose[kind]
    if at is None:
        return ""
    x, y = place(dose["strengths"][at], values[at]).split()
    name = escape(f"{DEFINITIONS[f'dose_{kind}'].name}: {dose['strengths'][at]:g}×")
    if kind == "best":
        return f'<circle cx="{x}" cy="{y}" r="4"><title>{name}</title></circle>'
    return f'<path class="breaks" d="M{x} {svg.TOP}V{svg.BOTTOM}"><title>{name}</title></path>'


def _label(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{escape(text)}</text>'
