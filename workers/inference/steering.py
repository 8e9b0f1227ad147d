"""Steering runs on an inference worker: one at a time, written in pieces, and stopped on request or
when no page watches.
"""

import logging
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

from features.models import Sae, Sequence, SteeringRun
from features.queue.claims import LostLease
from features.records import Intervention, InvalidInput
from features.steering import execution as steering_execution
from workers import model_cache
from workers.lifecycle import reaper
from workers.lifecycle.heartbeat import Heartbeat
from workers.pipeline.memory import release_free_memory
from workers.pipeline.model.prompts import prompt_ids
from workers.pipeline.steering.dose_response import DoseResponse, measure_dose_response
from workers.pipeline.steering.generate import SteeredPositions, Step, decode
from workers.pipeline.steering.interventions import FeatureIntervention, validate_interventions
from workers.pipeline.steering.measurements import MeasuredFeature, Measurements
from workers.pipeline.steering.sampling import Sampling
from workers.pipeline.steering.text_activations import Lens

HEARTBEAT_SECONDS = 0.5
WRITE_SECONDS = 0.04
"""Pieces within this interval are written together; the difference is not visible."""
DIGITS = 5
NEUTRAL_TOKENS = 64
OUT_OF_MEMORY = (
    "The worker ran out of memory. Ask for fewer new tokens, fewer strengths or a shorter prompt."
)
log = logging.getLogger(__name__)


def run_next() -> None:
    """Claim the next run, if any waits, and run it. Errors are stored, not raised."""
    run = steering_execution.claim_next(reaper.name())
    if run is None:
        return
    try:
        renew = partial(steering_execution.renew_lease, run)
        with Heartbeat(f"steering run {run.pk}", renew, HEARTBEAT_SECONDS) as heartbeat:
            _run(run, heartbeat)
        if heartbeat.should_stop:
            steering_execution.end_stopped(run, heartbeat.stop_reason)
        else:
            steering_execution.finish(run)
    except LostLease:
        log.warning("steering %s belongs to another worker, or has ended", run.pk)
    except InvalidInput as error:
        _fail(run, error.field, error.message)
    except Exception as error:
        if _out_of_memory(error):
            _fail(run, "length", OUT_OF_MEMORY, passing=True)
            return
        log.exception("cannot steer %s", run.pk)
        _fail(
            run,
            "",
            f"The worker could not steer: {type(error).__name__}. Its log says more.",
            passing=True,
        )


def pieces(run: SteeringRun, should_stop: Callable[[], bool]) -> Iterator[dict[str, Any]]:
    """Yield the pieces of a run as they are computed."""
    params = run.params
    language = model_cache.load_model(run.model)
    lenses = _lenses(run)
    interventions = [_load_intervention(lenses[one.sae], one) for one in run.interventions]
    validate_interventions(interventions)
    ids = prompt_ids(
        language,
        params["prompt"],
        params["mode"] == "chat",
        any(lens.prepend_bos for lens in lenses.values()),
    )
    if params["strengths"]:
        yield from _sweep_pieces(run, interventions[0], ids, should_stop)
        return
    watched = [MeasuredFeature(lenses[one.sae], one.index, one.tokens) for one in run.interventions]
    yield from _generation_pieces(
        decode(
            language,
            [interventions],
            ids,
            steered_positions(params),
            sampling(params),
            watched,
            should_stop,
        ),
        ids,
    )


def _load_intervention(lens: Lens, one: Intervention) -> FeatureIntervention:
    """The intervention with the weights of its SAE."""
    return FeatureIntervention(lens, one.index, one.method, one.strength, one.unit, one.maximum)


def steered_positions(params: dict[str, Any]) -> SteeredPositions:
    return SteeredPositions(params["where"], tuple(params["tokens"]), params["special"])


def sampling(params: dict[str, Any]) -> Sampling:
    return Sampling(**{name: params[name] for name in Sampling._fields})


def _run(run: SteeringRun, heartbeat: Heartbeat) -> None:
    pending: list[dict[str, Any]] = []
    written = 0.0
    for piece in pieces(run, lambda: heartbeat.should_stop):
        pending.append(piece)
        if "prompt" in piece:
            continue  # shown at the end: the first token comes first
        if time.monotonic() - written > WRITE_SECONDS:
            steering_execution.write(run, pending)
            pending, written = [], time.monotonic()
    if pending:
        steering_execution.write(run, pending)


def _generation_pieces(
    records: Iterator[Step | Measurements], ids: list[int]
) -> Iterator[dict[str, Any]]:
    for record in records:
        if isinstance(record, Step):
            yield {"ids": record.ids, "logprobs": _rounded(record.logprobs)}
        elif record.start < 0:
            yield {"prompt": ids, "activations": _rounded([rows[0] for rows in record.activations])}
        else:
            yield {
                "start": record.start,
                **{name: _rounded(getattr(record, name)) for name in Measurements._fields[1:]},
            }


def _sweep_pieces(
    run: SteeringRun, one: FeatureIntervention, ids: list[int], should_stop: Callable[[], bool]
) -> Iterator[dict[str, Any]]:
    params = run.params
    language, tokens = model_cache.load_model(run.model), run.interventions[0].tokens
    rows = Sequence.objects.filter(pk__in=params["neutral"], model=run.model).order_by("pk")
    neutral = [row.token_ids[:NEUTRAL_TOKENS] for row in rows]
    records = measure_dose_response(
        language,
        one,
        params["strengths"],
        ids,
        steered_positions(params),
        sampling(params),
        tokens,
        neutral,
        should_stop,
    )
    for record in records:
        if isinstance(record, DoseResponse):
            steering_execution.store_best_dose(run, record._asdict())
            yield {"dose": _rounded(record._asdict())}
        else:
            yield {"done": record.done, "total": record.total}


def _lenses(run: SteeringRun) -> dict[str, Lens]:
    hashes = {one.sae: one.sha256 for one in run.interventions}
    rows = {row.slug: row for row in Sae.objects.filter(model=run.model, slug__in=hashes)}
    for slug, sha256 in hashes.items():
        if slug not in rows or rows[slug].sha256 != sha256:
            raise InvalidInput(
                "features",
                f"{run.model} has no SAE “{slug}” any more, or its weights changed: steer again.",
            )
    return {
        slug: Lens(model_cache.load_sae(row), row.hook, row.prepend_bos, row.rule_of_dashboards)
        for slug, row in rows.items()
    }


def _fail(run: SteeringRun, field: str, message: str, *, passing: bool = False) -> None:
    try:
        steering_execution.fail(run, field, message, passing=passing)
    except LostLease:
        log.warning("steering %s belongs to another worker, or has ended: %s", run.pk, message)
    release_free_memory()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _out_of_memory(error: Exception) -> bool:
    """On a CPU torch raises a plain `RuntimeError`."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "allocate memory" in str(error)


def _rounded(value: Any) -> Any:
    """The value with every float rounded to `DIGITS`."""
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return round(value, DIGITS) if isinstance(value, float) else value
