"""The live charts of a job: which lines each holds, in which colours, and the key to them."""

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlencode

from django.urls import NoReverseMatch, reverse

from explorer.definitions import DEFINITIONS, Definition
from explorer.plots.svg import Line, Spot
from explorer.templatetags.numbers import number, written
from features.models import Job, Sae
from features.selectors.jobs import Curve, Curves

ORDER = (
    "explained_variance",
    "mse",
    "l0",
    "dead_share",
    "loss",
    "learning_rate",
    "tokens_per_second",
)
"""Curves in the order in which a person asks: is it good, is it sparse, is it alive, how is it
getting on.
"""
COLOURS = 8
GHOST = "ghost"


class Run(NamedTuple):
    """A job with its curves."""

    job: Job
    curves: Curves


class Chart(NamedTuple):
    """One card of a job's page."""

    name: str
    about: str
    value: str
    lines: list[Line]


class Key(NamedTuple):
    """What a colour stands for."""

    look: str
    text: str
    url: str


class Row(NamedTuple):
    """One SAE of a sweep: its last metrics by name, and the row that it became, if it has."""

    key: Key
    values: dict[str, float]
    sae: Sae | None


def ghost(sae: Sae, curves: Curves) -> Run:
    """The run that an SAE was made in; of a sweep only its own lines."""
    own = {
        name: {s: curve for s, curve in lines.items() if s in ("", sae.slug)}
        for name, lines in curves.items()
    }
    assert sae.made_by is not None
    return Run(sae.made_by, own)


def charts(own: Run, ghost: Run | None, other: Run | None) -> list[Chart]:
    """A chart for every metric that the job told, the known ones first; an unknown one goes by its
    own name.
    """
    names = [n for n in ORDER if n in own.curves] + [n for n in own.curves if n not in ORDER]
    looks = _looks(own, other)
    return [_chart(name, own, ghost, other, looks) for name in names]


def keys(own: Run, other: Run | None) -> list[Key]:
    """The colours of the lines; none where there is one line of each."""
    if not other and len(_series(own.curves)) < 2:
        return []
    slugs = {series: series or f"job {own.job.pk}" for series in _series(own.curves)}
    found = [
        Key(_looks(own, other)[own.job.pk, series], text, "") for series, text in slugs.items()
    ]
    if other:
        for series in _series(other.curves):
            text = f"job {other.job.pk}" + (f": {series}" if series else "")
            found.append(
                Key(_looks(own, other)[other.job.pk, series], text, other.job.get_absolute_url())
            )
    return found


def sweep(own: Run, made: list[Sae]) -> list[Row]:
    """The SAEs of a sweep side by side; empty for a job of one SAE."""
    series = _series(own.curves)
    if len(series) < 2:
        return []
    rows, looks = {sae.slug: sae for sae in made}, _looks(own, None)
    return [
        Row(
            Key(
                looks[own.job.pk, slug], slug, rows[slug].get_absolute_url() if slug in rows else ""
            ),
            {name: lines[slug][-1][1] for name, lines in own.curves.items() if lines.get(slug)},
            rows.get(slug),
        )
        for slug in series
    ]


def spots(rows: list[Row]) -> list[Spot]:
    """L0 and explained variance of a sweep's SAEs: as evaluated, or where they are not, as at their
    last training step.
    """
    found = []
    for row in rows:
        known = row.sae.evaluation["values"] if row.sae and row.sae.evaluation else row.values
        if "l0" in known and "explained_variance" in known:
            name = (
                f"{row.key.text}: L0 {number(known['l0'])}, explained variance "
                f"{number(known['explained_variance'])}"
            )
            found.append(Spot(known["l0"], known["explained_variance"], name, row.key.look))
    return found


def compare_url(rows: list[Row]) -> str:
    """The page that compares the SAEs of a sweep with each other; empty until there are two."""
    made = [row.sae for row in rows if row.sae]
    if len(made) < 2:
        return ""
    try:
        page = reverse("compare", args=[made[0].model.slug])
    except NoReverseMatch:
        return ""
    return f"{page}?{urlencode([('sae', sae.slug) for sae in made])}"


def _chart(
    name: str, own: Run, ghost: Run | None, other: Run | None, looks: Mapping[tuple[int, str], str]
) -> Chart:
    known = DEFINITIONS.get(f"job_{name}") or Definition(
        name.replace("_", " ").capitalize(), "A metric of this job."
    )
    lines = [_line(own, series, curve, looks) for series, curve in own.curves[name].items()]
    if other:
        lines += [
            _line(other, series, curve, looks)
            for series, curve in other.curves.get(name, {}).items()
        ]
    elif ghost:
        lines += [
            Line(curve, f"job {ghost.job.pk}", GHOST)
            for curve in ghost.curves.get(name, {}).values()
        ]
    ends = [curve[-1][1] for curve in own.curves[name].values()]
    least, most = written(known, min(ends)), written(known, max(ends))
    return Chart(known.name, known.about, least if least == most else f"{least} to {most}", lines)


def _line(run: Run, series: str, curve: Curve, looks: Mapping[tuple[int, str], str]) -> Line:
    return Line(
        curve, " ".join(filter(None, [f"job {run.job.pk}", series])), looks[run.job.pk, series]
    )


def _looks(own: Run, other: Run | None) -> dict[tuple[int, str], str]:
    """A colour for each line: of more lines than colours, the second eight are dashed. One line
    alone has the plot's own.
    """
    every = [(run.job.pk, series) for run in (own, other) if run for series in _series(run.curves)]
    if len(every) == 1:
        return {every[0]: ""}
    return {
        line: f"s{i % COLOURS}" + (" dashed" if i // COLOURS % 2 else "")
        for i, line in enumerate(every)
    }


def _series(curves: Curves) -> list[str]:
    return list(dict.fromkeys(series for lines in curves.values() for series in lines))
