"""Histograms and curves, drawn on the server."""

import math
from collections.abc import Sequence

from django import template
from django.utils.safestring import SafeString

from explorer.definitions import DEFINITIONS
from explorer.definitions.formats import count, number, short_count
from explorer.plots import scale, svg
from features.inference.text_activations import FeatureReading
from features.models import Feature
from features.models.match import MATCHED

register = template.Library()

LOWEST_EXPONENT = -7
"""Density histograms reach from 1e-7 to 1."""


@register.simple_tag
def activation_histogram(feature: Feature, reading: FeatureReading | None = None) -> SafeString:
    """Firings by activation on a log scale of counts, cut at the feature's maximum; that of a typed
    text is marked.
    """
    width = feature.histogram_width
    used = min(int(feature.max_activation / width) + 1, len(feature.histogram)) if width else 0
    counts = feature.histogram[:used]
    hints = _hints([i * width for i in range(used + 1)], counts, "firing")
    ticks = [svg.Tick(share, scale.nice_text(share * used * width)) for share in (0, 0.5, 1)]
    alternative = (
        f"Histogram of activations from 0 to {number(feature.max_activation)}: "
        f"{times(sum(counts), 'firing')}."
    )
    mark = None
    if reading and used:
        text = f"{DEFINITIONS['text_maximum'].name}: {number(reading.highest)}"
        mark, alternative = (
            svg.Tick(reading.highest / (used * width), text),
            f"{alternative} {text}.",
        )
    return svg.bars([math.log1p(n) for n in counts], hints, ticks, alternative, mark=mark)


@register.simple_tag
def logit_histogram(feature: Feature) -> SafeString:
    """Tokens of the vocabulary by what the feature adds to their logit, on a log scale
    of counts.
    """
    low, high, counts = feature.logit_low, feature.logit_high, feature.logit_histogram
    step = (high - low) / max(len(counts), 1)
    hints = _hints([low + i * step for i in range(len(counts) + 1)], counts, "token")
    ticks = [svg.Tick(0, scale.nice_text(low)), svg.Tick(1, scale.nice_text(high))]
    if low < 0 < high and 0.15 < -low / (high - low) < 0.85:
        ticks.append(svg.Tick(-low / (high - low), "0"))
    alternative = (
        f"Histogram of logit effects from {number(low)} to {number(high)} over "
        f"{times(sum(counts), 'token')}."
    )
    return svg.bars([math.log1p(n) for n in counts], hints, ticks, alternative, "quiet")


@register.simple_tag
def density_histogram(counts: Sequence[int]) -> SafeString:
    """Live features by density, in equal parts of the decades from 1e-7 to 1."""
    step = -LOWEST_EXPONENT / max(len(counts), 1)
    ends = [10 ** (LOWEST_EXPONENT + i * step) for i in range(len(counts) + 1)]
    hints = _hints(ends, counts, "feature")
    decades = [*range(LOWEST_EXPONENT, 0, 2), 0]
    ticks = [
        svg.Tick((d - LOWEST_EXPONENT) / -LOWEST_EXPONENT, "1" if d == 0 else f"1e{d}")
        for d in decades
    ]
    alternative = (
        f"Histogram of densities of {times(sum(counts), 'live feature')}, from 1e-7 to "
        "1 on a log scale."
    )
    return svg.bars(list(counts), hints, ticks, alternative, "quiet")


@register.simple_tag
def match_histogram(counts: Sequence[int]) -> SafeString:
    """Features by the cosine with their nearest of another SAE, from 0 to 1, and the cosine from
    which it is a match.
    """
    ends = [i / len(counts) for i in range(len(counts) + 1)]
    hints = [
        f"{ends[i]:.2f} to {ends[i + 1]:.2f}: {times(n, 'feature')}" for i, n in enumerate(counts)
    ]
    ticks = [svg.Tick(at, scale.nice_text(at)) for at in (0, 0.5, 1)]
    mark = svg.Tick(MATCHED, f"A match from {MATCHED} on")
    alternative = f"Histogram of nearest cosines of {times(sum(counts), 'feature')}, from 0 to 1."
    return svg.bars(list(counts), hints, ticks, alternative, "quiet", mark)


@register.simple_tag
def curve(lines: Sequence[svg.Line], label: str = "", unit: str = "tokens") -> SafeString:
    """Lines of (step, value) points of jobs; the alternative tells where each that has a colour of
    its own ends.
    """
    last = max((x for line in lines for x, _ in line.points), default=0)
    visible = [line for line in lines if line.points and line.look != "earlier"]
    ends = [f"{line.name} {_end(line, unit)}".strip() for line in visible]
    return svg.curve(
        lines,
        f"{label or 'Curve'}: {', '.join(ends)}." if ends else label,
        f"{short_count(last)} {unit}".strip(),
    )


@register.simple_tag
def scatter(spots: Sequence[svg.Spot], x_name: str, y_name: str) -> SafeString:
    """A spot for each of some SAEs; the alternative tells all of them."""
    return svg.scatter(
        spots,
        x_name,
        y_name,
        f"{y_name} against {x_name}. " + "; ".join(spot.name for spot in spots),
    )


def _hints(ends: Sequence[float], counts: Sequence[int], noun: str) -> list[str]:
    """What each bin says on hover, from the values between bins."""
    edges = [number(end) for end in ends]
    return [f"{edges[i]} to {edges[i + 1]}: {times(n, noun)}" for i, n in enumerate(counts)]


def _end(line: svg.Line, unit: str) -> str:
    step, value = line.points[-1]
    return f"{number(value)} at {count(int(step))} {unit}"


def times(n: int, noun: str) -> str:
    """A count with its noun, in the plural where it is."""
    return f"{count(n)} {noun}{'' if n == 1 else 's'}"
