"""Jobs that measure the causal effects of the live features of an SAE."""

from collections.abc import Iterator
from itertools import islice

from django.db import transaction

from features.ingest import effects as effect_ingest
from features.jobs import execution as job_execution
from features.models import Example, Feature, Sae, Sequence
from features.records import EffectRecord, InvalidInput, Progress
from workers import model_cache
from workers.jobs import inputs
from workers.lifecycle.work import RunningJob
from workers.pipeline.steering.causal_effects import FeatureCase, measure_causal_effects
from workers.pipeline.steering.text_activations import Lens

TOGETHER = 64
"""Features whose examples are read, and whose roles are written, at once."""
LONGEST = 64
"""Tokens of a text before and at the peak, and of a text to which features are added."""


def score_causes(job: RunningJob) -> None:
    """Measure the features that fire in the dashboards, or those of them that the params name."""
    sae, contexts = inputs.sae(job.params["sae"]), job.params["contexts"]
    alive = _alive(sae, job.params.get("features") or [])
    measured = effect_ingest.measured(sae, job.row)  # by an earlier attempt at this job
    remaining = [index for index in alive if index not in measured]
    records = measure_causal_effects(
        model_cache.load_model(sae.model),
        Lens(model_cache.load_sae(sae), sae.hook, sae.prepend_bos, sae.rule_of_dashboards),
        _cases(sae, remaining, contexts),
        len(remaining),
        _neutral(sae, contexts),
        job.params["seed"],
        job.should_stop,
    )
    effect_ingest.forget(sae, remaining)
    if measured:
        job.log(f"Continuing after {len(measured):,} features that were measured already.")
    done = len(alive) - len(remaining)
    written = len(measured) + _write(job, sae, _count_from(done, records))
    with transaction.atomic():
        job_execution.finish(
            job.row,
            {"sae": str(sae), "features": written, "without enough texts": len(alive) - written},
        )


def _alive(sae: Sae, indices: list[int]) -> list[int]:
    rows = Feature.objects.filter(sae=sae).alive().order_by("index")
    if indices:
        rows = rows.filter(index__in=indices)
    return list(rows.values_list("index", flat=True))


def _write(job: RunningJob, sae: Sae, records: Iterator[Progress | EffectRecord]) -> int:
    """Write the records in batches; return how many there were."""
    written, results = 0, job.results(records)
    while batch := list(islice(results, TOGETHER)):
        assert all(isinstance(record, EffectRecord) for record in batch)
        effect_ingest.write(sae, batch, job.row)
        written += len(batch)
    return written


def _count_from(
    done: int, records: Iterator[Progress | EffectRecord]
) -> Iterator[Progress | EffectRecord]:
    """The records, with progress that includes what an earlier attempt did."""
    for record in records:
        if isinstance(record, Progress):
            yield record._replace(done=record.done + done, total=record.total + done)
        else:
            yield record


def _cases(sae: Sae, live: list[int], contexts: int) -> Iterator[FeatureCase]:
    for first in range(0, len(live), TOGETHER):
        rows = Feature.objects.filter(sae=sae, index__in=live[first : first + TOGETHER]).order_by(
            "index"
        )
        examples: dict[int, list[Example]] = {row.pk: [] for row in rows}
        for example in (
            Example.objects.filter(feature__in=examples)
            .select_related("sequence")
            .order_by("band", "rank")
        ):
            examples[example.feature_id].append(example)
        for row in rows:
            chosen = _spread(examples[row.pk], contexts)
            yield FeatureCase(
                row.index, row.max_activation, row.top_tokens, [_text(e) for e in chosen]
            )


def _spread(examples: list[Example], count: int) -> list[Example]:
    """`count` of the examples, evenly from the strongest to the weakest, each context once."""
    first: dict[int, Example] = {}
    for example in examples:
        first.setdefault(example.sequence_id, example)
    once = list(first.values())
    step = max(len(once) / count, 1)
    return [once[int(i * step)] for i in range(min(count, len(once)))]


def _text(example: Example) -> tuple[list[int], list[int]]:
    """Token ids of the context up to the token after the peak, and the positions up to the peak
    where the feature fires. The middle of a long context is left out, BOS stays.
    """
    ids = example.sequence.token_ids
    if example.peak < LONGEST:
        return ids[: example.peak + 2], [p for p in example.positions if p <= example.peak]
    head = ids[:1] if example.sequence.bos else []
    start = example.peak - LONGEST + 1 + len(head)
    shift = len(head) - start
    positions = [p + shift for p in example.positions if start <= p <= example.peak]
    return [*head, *ids[start : example.peak + 2]], positions


def _neutral(sae: Sae, count: int) -> list[list[int]]:
    """The first contexts of the corpus that are examples of any feature, so that they are not
    chosen for the feature that is measured. Raises `InvalidInput` where there are too few.
    """
    rows = Sequence.objects.filter(
        pk__in=Example.objects.filter(feature__sae=sae).values("sequence")
    )
    contexts = rows.order_by("position", "pk").values_list("token_ids", flat=True)[:count]
    if len(contexts) < 2:
        raise InvalidInput(
            "sae",
            f"{sae} has no examples, which say where features fire. Make its dashboards again.",
        )
    return [ids[:LONGEST] for ids in contexts]
