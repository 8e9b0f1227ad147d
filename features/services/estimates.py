"""How long a job will take, before it is queued: its work in floating-point operations, divided by
a measured speed.

Per token, with P parameters and N layers of the model, a hook in layer L, and an SAE of `width`
features on `d` numbers:

    forward to the hook      2 P (L + 1) / N        a multiplication and an addition per parameter
    on the way train_sae                forward + 12 d width   encode and decode are 4 d width; the
    way back costs twice as much;
                                                    in a sweep: forward to its deepest hook, and the
                                                    sum of its widths
    compute_dashboards       forward + 2 d width    encode only; of several SAEs: forward to the
    deepest hook, and the sum
                                                    of d width; with shards: as long as one worker
                                                    takes for all of them
    label_sae                forward + 2 d width    the same; the search of labels is in its
    measured speed evaluate_sae             3 x 2 P + 4 d width    the model as it is, with the
    reconstruction, and with zeros at the hook

The formulas leave out attention and everything that is not arithmetic; dividing by a speed that was
measured with the same formulas, loading included, puts that back.
"""

from collections.abc import Mapping
from statistics import median
from typing import Any, NamedTuple

from features import hook_names
from features.jobs import sweeps
from features.models import Job, LanguageModel, Sae
from features.services.memory import needed

ASSUMED_SPEED = {
    "train_sae": 1e11,
    "compute_dashboards": 4e10,
    "evaluate_sae": 4e10,
    "label_sae": 1e10,
}
"""Operations per second of a computer with two cores, for kinds that never finished here; other
kinds read no tokens.
"""
EARLIER = 5


class Estimate(NamedTuple):
    """`seconds` for `tokens` tokens (0 where a kind reads none), and a sentence that says where the
    number comes from.

    `memory` is what training takes, in bytes, for so many `saes`; 0 for other kinds.
    """

    seconds: float
    tokens: int
    told: str
    memory: int = 0
    saes: int = 1


class _Shape(NamedTuple):
    model: LanguageModel
    hook: str
    weights: int


def estimate(kind: str, params: Mapping[str, Any]) -> Estimate | None:
    """The estimate of a job, at most four queries; None where params are incomplete or nothing is
    known of the kind.
    """
    alone = Job.objects.filter(
        parts=None, part_of=None
    )  # what many workers took says nothing about one
    earlier = list(
        alone.filter(kind=kind, state=Job.State.FINISHED, attempts=1).order_by("-id")[:EARLIER]
    )
    if kind not in ASSUMED_SPEED:
        return _as_long_as(earlier)
    tokens = params.get("tokens")
    shapes = _shapes([params, *(job.params for job in earlier)])
    if shapes[0] is None or not tokens:
        return None
    work = _work(kind, shapes[0]) * tokens
    size = (
        (needed(params, shapes[0].model).total, len(sweeps.members(params)))
        if kind == "train_sae"
        else (0, 1)
    )
    speeds = {
        job.pk: speed
        for job, shape in zip(earlier, shapes[1:], strict=True)
        if (speed := _speed(job, shape))
    }
    if not speeds:
        assumed = ASSUMED_SPEED[kind]
        told = (
            f"Assumes {_si(assumed)} operations per second, as two CPU cores do: no job of "
            "this kind has finished here yet."
        )
        return Estimate(work / assumed, tokens, told + _side_by_side(params), *size)
    speed = median(speeds.values())
    told = f"From {_si(speed)} operations per second, measured on {_named(list(speeds))}."
    return Estimate(work / speed, tokens, told + _side_by_side(params), *size)


def _side_by_side(params: Mapping[str, Any]) -> str:
    shards = params.get("shards") or 1
    return (
        f" That is for one worker; {shards} at once take about a {shards}th of it."
        if shards > 1
        else ""
    )


def _speed(job: Job, shape: _Shape | None) -> float | None:
    """Operations per second that a finished job reached, from claim to end."""
    tokens = job.done if job.unit == "tokens" else job.params.get("tokens", 0)
    if shape is None or not job.seconds or not tokens:
        return None
    return _work(job.kind, shape) * tokens / job.seconds


def _work(kind: str, shape: _Shape) -> float:
    """Operations per token; see the top of the file."""
    whole, sae = 2.0 * shape.model.parameters, float(shape.weights)
    layer = hook_names.read(shape.hook).layer
    share = (layer + 1) / shape.model.layers if layer is not None else 1.0
    return {
        "train_sae": whole * share + 12 * sae,
        "compute_dashboards": whole * share + 2 * sae,
        "label_sae": whole * share + 2 * sae,
        "evaluate_sae": 3 * whole + 4 * sae,
    }[kind]


def _shapes(many: list[Mapping[str, Any]]) -> list[_Shape | None]:
    """The shapes that params speak of, None where a row is unknown; two queries."""
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
) -> _Shape | None:
    named, model = (
        [saes.get(path) for path in str(params.get("sae") or "").split()],
        models.get(params.get("model", "")),
    )
    found = [sae for sae in named if sae]
    if named and len(found) == len(named):
        deepest = max((sae.hook for sae in found), key=_depth)
        return _Shape(found[0].model, deepest, sum(sae.d_in * sae.width for sae in found))
    if model and params.get("hook") and params.get("width"):
        sweep = list(sweeps.members(params).values())
        deepest = max((one["hook"] for one in sweep), key=_depth)
        return _Shape(model, deepest, model.d_model * sum(one["width"] for one in sweep))
    return None


def _depth(hook: str) -> int:
    return hook_names.read(hook).layer or 0


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
