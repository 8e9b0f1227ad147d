"""The map of an SAE's features as inline SVG, shown until the script draws all of it."""

from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from features.selectors.maps import MapPoint

register = template.Library()

WIDTH, HEIGHT, EDGE = 800, 400, 14
SHADES = 8
"""Eighths of the features, from the rarest to the densest; map.js has the same constants."""
GOLDEN = 137.508
"""Degrees of hue from one cluster to the next; consecutive clusters differ clearly."""


@register.simple_tag
@lru_cache(maxsize=16)
def map_plot(points: tuple[MapPoint, ...], color: str) -> SafeString:
    """One path of dots for each colour; the colours themselves are in map.css."""
    ranked = sorted(point.density for point in points)
    inks = sorted((ink(point, color, ranked), point) for point in points)
    x_low, y_low, scale = _fit(points)
    paths = []
    for (kind, style), group in groupby(inks, key=lambda pair: pair[0]):
        dots = "".join(f"M{_at(p.x, x_low, scale)} {_at(p.y, y_low, scale)}h0" for _, p in group)
        paths.append((kind, style, dots))
    drawn = format_html_join("", '<path class="map-ink {}" style="{}" d="{}"/>', paths)
    alternative = f"Map of {len(points):,} features, coloured by {color}."
    return format_html(
        '<svg viewBox="{} {} {} {}" role="img" aria-label="{}">{}</svg>',
        *_frame(points, scale),
        alternative,
        drawn,
    )


def ink(point: MapPoint, color: str, ranked: Sequence[float]) -> tuple[str, str]:
    """Class and style of a feature's colour; `ranked` are all densities, rising."""
    if color == "density":
        return "dense", f"--s:{shade(point.density, ranked) / (SHADES - 1):.2f}"
    if point.cluster is None:
        return "", ""  # sorts before the clusters, so that these are drawn above it
    return "grouped", f"--h:{point.cluster * GOLDEN % 360:.0f}"


def shade(density: float, ranked: Sequence[float]) -> int:
    """The eighth of the features that a density belongs to, 0 to `SHADES` - 1."""
    return bisect_left(ranked, density) * SHADES // len(ranked)


def _fit(points: Sequence[MapPoint]) -> tuple[float, float, float]:
    """Left and lower end of the map, and how many pixels a unit is."""
    x_low, x_high = min((p.x for p in points), default=0.0), max((p.x for p in points), default=1.0)
    y_low, y_high = min((p.y for p in points), default=0.0), max((p.y for p in points), default=1.0)
    wide, high = max(x_high - x_low, 1e-6), max(y_high - y_low, 1e-6)
    return x_low, y_low, min((WIDTH - 2 * EDGE) / wide, (HEIGHT - 2 * EDGE) / high)


def _frame(points: Sequence[MapPoint], scale: float) -> tuple[int, int, int, int]:
    """The SVG view box that centres the map."""
    x_low, y_low, _ = _fit(points)
    wide = (max((p.x for p in points), default=0.0) - x_low) * scale
    high = (max((p.y for p in points), default=0.0) - y_low) * scale
    return round((wide - WIDTH) / 2), round((high - HEIGHT) / 2), WIDTH, HEIGHT


def _at(value: float, low: float, scale: float) -> str:
    return f"{(value - low) * scale:.1f}".removesuffix(".0")
