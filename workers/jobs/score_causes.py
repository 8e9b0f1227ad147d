"""What every live feature of an SAE does, from its job's row to the features' own."""

from collections.abc import Iterator
from itertools import islice

from django.db import transaction

from features.ingest import effects as effect_ingest
from features.jobs import execution as job_execution
from features.models import Example, Feature, Sae, Sequence
from features.records import CauseRecord, InvalidInput, Progress
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
    """Measure the features that the dashboards found alive."""
    sae = inputs.sae(job.params["sae"])
    language, contexts, seed = (
        model_cache.load_model(sae.model),
        job.params["contexts"],
        job.params["seed"],
    )
    lens = Lens(model_cache.load_sae(sae), sae.hook, sae.prepend_bos)
    rows = Feature.objects.filter(sae=sae).alive().order_by("index")
    wanted = job.params.get("features") or []
    live = list((rows.filter(index__in=wanted) if wanted else rows).values_list("index", flat=True))
    neutral = _neutral(sae, contexts)
    if len(neutral) < 2:
        raise InvalidInput(
            "sae",
            f"{sae} has no examples, which say where features fire. Make its dashboards again.",
        )
    known = effect_ingest.measured(sae, job.row)  # by an attempt at this job that died
    left = [index for index in live if index not in known]
    effect_ingest.forget(sae, left)
    written = len(known)
    if known:
        job.log(f"Going on after {written:,} features that were measured already.")
    told = measure_causal_effects(
        language, lens, _cases(sae, left, contexts), len(left), neutral, seed, job.should_stop
    )
    records = job.results(_after(len(live) - len(left), told))
    while some := list(islice(records, TOGETHER)):
        assert all(isinstance(record, CauseRecord) for record in some)
        effect_ingest.write(sae, some, job.row)
        written += len(some)
    with transaction.atomic():
        job_execution.finish(
            job.row,
            {"sae": str(sae), "features": written, "without enough texts": len(live) - written},
        )


def _after(done: int, told: Iterator[Progress | CauseRecord]) -> Iterator[Progress | CauseRecord]:
    """The same, with its progress counted after what was done before."""
    for new in told:
        yield (
            new._replace(done=new.done + done, total=new.total + done)
            if isinstance(new, Progress)
            else new
        )


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
    """So many of the examples, evenly from the strongest to the weakest, each context once."""
    first: dict[int, Example] = {}
    for example in examples:
        first.setdefault(example.sequence_id, example)
    once = list(first.values())
    step = max(len(once) / count, 1)
    return [once[int(i * step)] for i in range(min(count, len(once)))]


def _text(example: Example) -> tuple[list[int], list[int]]:
    """The context up to the token after the peak, and the positions until there where the feature
    fires.
    """
    ids = example.sequence.token_ids
    if example.peak < LONGEST:
        return ids[: example.peak + 2], [
            place for place in example.positions if place <= example.peak
        ]
    head = (
        ids[:1] if example.sequence.bos else []
    )  # what is cut off is the middle: an SAE that reads after BOS has it
    start = example.peak - LONGEST + 1 + len(head)
    inside = [
        place - start + len(head) for place in example.positions if start <= place <= example.peak
    ]
    return [*head, *ids[start : example.peak + 2]], inside


def _neutral(sae: Sae, count: int) -> list[list[int]]:
    """Contexts of other features' examples, the first of the corpus: nobody chose a word in them
    for any one feature.
    """
    rows = Sequence.objects.filter(
        pk__in=Example.objects.filter(feature__sae=sae).values("sequence")
    )
    return [
        ids[:LONGEST]
        for ids in rows.order_by("position", "pk").values_list("token_ids", flat=True)[:count]
    ]
