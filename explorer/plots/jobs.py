"""The live charts of a job: the lines of each, their colours, and the legend."""

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlencode

from django.urls import NoReverseMatch, reverse

from explorer.definitions import DEFINITIONS, Definition
from explorer.definitions.formats import format_value, number
from explorer.plots.svg import Line, Spot
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
"""By the order of questions: is it good, is it sparse, is it alive, how does training go."""
COLOURS = 8
EARLIER = "earlier"
"""CSS class of the dashed line of an earlier run."""


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
    """An entry of the legend."""

    look: str
    text: str
    url: str


class Row(NamedTuple):
    """One SAE of a sweep: its last metrics by name, and its row once it is saved."""

    key: Key
    values: dict[str, float]
    sae: Sae | None


def earlier_run(sae: Sae, curves: Curves) -> Run:
    """The run that trained an SAE; of a sweep only the lines of this SAE."""
    own = {
        name: {s: curve for s, curve in lines.items() if s in ("", sae.slug)}
        for name, lines in curves.items()
    }
    assert sae.made_by is not None
    return Run(sae.made_by, own)


def charts(own: Run, earlier: Run | None, other: Run | None) -> list[Chart]:
    """A chart for every metric that the job reported: defined ones first, others by their name."""
    names = [n for n in ORDER if n in own.curves] + [n for n in own.curves if n not in ORDER]
    looks = _looks(own, other)
    return [_chart(name, own, earlier, other, looks) for name in names]


def keys(own: Run, other: Run | None) -> list[Key]:
    """The legend; empty if no chart has more than one line."""
    if not other and len(_series(own.curves)) < 2:
        return []
    slugs = {series: series or f"job {own.job.pk}" for series in _series(own.curves)}
    legend = [
        Key(_looks(own, other)[own.job.pk, series], text, "") for series, text in slugs.items()
    ]
    if other:
        for series in _series(other.curves):
            text = f"job {other.job.pk}" + (f": {series}" if series else "")
            legend.append(
                Key(_looks(own, other)[other.job.pk, series], text, other.job.get_absolute_url())
            )
    return legend


def sweep(own: Run, saes: list[Sae]) -> list[Row]:
    """A table of the SAEs of a sweep; empty for a job with one SAE."""
    series = _series(own.curves)
    if len(series) < 2:
        return []
    rows, looks = {sae.slug: sae for sae in saes}, _looks(own, None)
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
    """L0 and explained variance of a sweep's SAEs: evaluated, else of the last training step."""
    points = []
    for row in rows:
        values = row.sae.evaluation["values"] if row.sae and row.sae.evaluation else row.values
        if "l0" in values and "explained_variance" in values:
            name = (
                f"{row.key.text}: L0 {number(values['l0'])}, explained variance "
                f"{number(values['explained_variance'])}"
            )
            points.append(Spot(values["l0"], values["explained_variance"], name, row.key.look))
    return points


def compare_url(rows: list[Row]) -> str:
    """The page that compares the SAEs of a sweep; empty until there are two."""
    saes = [row.sae for row in rows if row.sae]
    if len(saes) < 2:
        return ""
    try:
        page = reverse("compare", args=[saes[0].model.slug])
    except NoReverseMatch:
        return ""
    return f"{page}?{urlencode([('sae', sae.slug) for sae in saes])}"


def _chart(
    name: str,
    own: Run,
    earlier: Run | None,
    other: Run | None,
    looks: Mapping[tuple[int, str], str],
) -> Chart:
    definition = DEFINITIONS.get(f"job_{name}") or Definition(
        name.replace("_", " ").capitalize(), "A metric of this job."
    )
    lines = [_line(own, series, curve, looks) for series, curve in own.curves[name].items()]
    if other:
        lines += [
            _line(other, series, curve, looks)
            for series, curve in other.curves.get(name, {}).items()
        ]
    elif earlier:
        lines += [
            Line(curve, f"job {earlier.job.pk}", EARLIER)
            for curve in earlier.curves.get(name, {}).values()
        ]
    ends = [curve[-1][1] for curve in own.curves[name].values()]
    least, most = format_value(definition, min(ends)), format_value(definition, max(ends))
    value = least if least == most else f"{least} to {most}"
    return Chart(definition.name, definition.about, value, lines)


def _line(run: Run, series: str, curve: Curve, looks: Mapping[tuple[int, str], str]) -> Line:
    return Line(
        curve, " ".join(filter(None, [f"job {run.job.pk}", series])), looks[run.job.pk, series]
    )


def _looks(own: Run, other: Run | None) -> dict[tuple[int, str], str]:
    """CSS classes of the lines: the ninth to sixteenth are dashed, a single line has the plot's own
    colour.
    """
    keys = [(run.job.pk, series) for run in (own, other) if run for series in _series(run.curves)]
    if len(keys) == 1:
        return {keys[0]: ""}
    return {
        line: f"s{i % COLOURS}" + (" dashed" if i // COLOURS % 2 else "")
        for i, line in enumerate(keys)
    }


def _series(curves: Curves) -> list[str]:
    return list(dict.fromkeys(series for lines in curves.values() for series in lines))
