"""Estimates how long a job will take: its floating-point operations divided by a measured speed.

Each form counts the operations of its jobs per token (`JobForm.operations`), from the parameters of
the model, the depth of the hook, and the size of the SAEs; several SAEs need the deepest of their
hooks. The formulas ignore attention and everything but arithmetic; the speed is measured with the
same formulas, loading included, which makes up for it.
"""

from collections.abc import Mapping
from statistics import median
from typing import Any, NamedTuple

from features import hook_names
from features.jobs import sweeps
from features.jobs.forms import JOB_FORMS, JobForm
from features.jobs.forms.base import Shape
from features.models import Job, LanguageModel, Sae

EARLIER = 5


class Estimate(NamedTuple):
    """`seconds` for `tokens` tokens (0 for kinds that need no corpus); `basis` is a sentence on
    where the estimate comes from.

    `memory` is what training `saes` SAEs takes, in bytes; 0 for other kinds.
    """

    seconds: float
    tokens: int
    basis: str
    memory: int = 0
    saes: int = 1


def estimate(kind: str, params: Mapping[str, Any]) -> Estimate | None:
    """The estimate of a job, with at most four queries; None if params are incomplete, or if the
    kind has no formula and no finished job.
    """
    alone = Job.objects.filter(parts=None, part_of=None)  # shards say nothing about one worker
    earlier = list(
        alone.filter(kind=kind, state=Job.State.FINISHED, attempts=1).order_by("-id")[:EARLIER]
    )
    form = JOB_FORMS[kind]
    if form.assumed_speed is None:
        return _as_long_as(earlier)
    tokens = params.get("tokens")
    shapes = _shapes([params, *(job.params for job in earlier)])
    if shapes[0] is None or not tokens:
        return None
    memory = form.memory(params, shapes[0].model)
    size = (memory, len(form.promises(params)) if memory else 1)
    speeds = {
        job.pk: speed
        for job, shape in zip(earlier, shapes[1:], strict=True)
        if (speed := _speed(form, job, shape))
    }
    speed = median(speeds.values()) if speeds else form.assumed_speed
    basis = (
        f"From {_si(speed)} operations per second, measured on {_named(list(speeds))}."
        if speeds
        else f"Assumes {_si(speed)} operations per second, as two CPU cores do: no job of "
        "this kind has finished here yet."
    )
    seconds = form.operations(shapes[0]) * tokens / speed
    return Estimate(seconds, tokens, basis + _side_by_side(params), *size)


def _side_by_side(params: Mapping[str, Any]) -> str:
    shards = params.get("shards") or 1
    return (
        f" That is for one worker; {shards} at once take about a {shards}th of it."
        if shards > 1
        else ""
    )


def _speed(form: type[JobForm], job: Job, shape: Shape | None) -> float | None:
    """Operations per second that a finished job reached, from claim to end."""
    tokens = job.done if job.unit == "tokens" else job.params.get("tokens", 0)
    if shape is None or not job.seconds or not tokens:
        return None
    return form.operations(shape) * tokens / job.seconds


def _shapes(many: list[Mapping[str, Any]]) -> list[Shape | None]:
    """The shape of each params, None if a model or SAE does not exist; two queries."""
    models = LanguageModel.objects.in_bulk(
        [p["model"] for p in many if p.get("model")], field_name="slug"
    )
    slugs = [path.partition("/")[2] for p in many for path in str(p.get("sae") or "").split()]
    saes = (
        {str(sae): sae for sae in Sae.objects.select_related("model").filter(slug__in=slugs)}
        if slugs
        else {}
    )
    return [_shape(params, models, saes) for params in many]


def _shape(
    params: Mapping[str, Any], models: Mapping[str, LanguageModel], saes: Mapping[str, Sae]
) -> Shape | None:
    paths = str(params.get("sae") or "").split()
    if paths and all(path in saes for path in paths):
        named = [saes[path] for path in paths]
        deepest = max((sae.hook for sae in named), key=_depth)
        return Shape(named[0].model, deepest, sum(sae.d_in * sae.width for sae in named))
    model = models.get(params.get("model", ""))
    if model and params.get("hook") and params.get("width"):
        sweep = list(sweeps.sweep_of(params).saes.values())
        deepest = max((one["hook"] for one in sweep), key=_depth)
        return Shape(model, deepest, model.d_model * sum(one["width"] for one in sweep))
    return None


def _depth(hook: str) -> int:
    return hook_names.parse_hook(hook).layer or 0


def _as_long_as(earlier: list[Job]) -> Estimate | None:
    taken = {job.pk: job.seconds for job in earlier if job.seconds is not None}
    return (
        Estimate(median(taken.values()), 0, f"As long as {_named(list(taken))} took.")
        if taken
        else None
    )


def _named(ids: list[int]) -> str:
    return (
        f"job {ids[0]}" if len(ids) == 1 else f"jobs {', '.join(map(str, ids[:-1]))} and {ids[-1]}"
    )


def _si(number: float) -> str:
    for limit, unit in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if number >= limit:
            return f"{number / limit:.3g} {unit}"
    return f"{number:,.0f}"
