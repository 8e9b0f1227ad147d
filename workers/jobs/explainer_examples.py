"""The texts of features that a language model is shown: examples from their dashboards, and
contexts in which they do not fire.
"""

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from features.models import Example, Feature, Sae
from features.models import Sequence as Context
from features.token_spans import Vocabulary
from features.vocabulary import vocabulary_of
from workers import model_cache
from workers.jobs import example_selection
from workers.jobs.example_selection import Batch
from workers.pipeline.autointerp.examples import FeatureExamples, is_held_out
from workers.pipeline.autointerp.feature_activations import (
    activations_in_contexts,
)
from workers.pipeline.dashboards.corpus_pass import Target

AT_ONCE = 32
"""Features whose texts are read in one batch."""
POOL = 96
"""Contexts sampled from the corpus in which features may not fire."""


def load_examples(
    sae: Sae, indices: Sequence[int], texts: int, seed: int
) -> Iterator[FeatureExamples]:
    """Yield the examples of these features in order, at most `texts` of each kind."""
    for start in range(0, len(indices), AT_ONCE):
        batch = indices[start : start + AT_ONCE]
        rows = {row.index: row for row in Feature.objects.filter(sae=sae, index__in=batch)}
        yield from _load_batch(sae, [rows[index] for index in batch if index in rows], texts, seed)


def split_settings(row: Sae, seed: int) -> dict[str, Any]:
    """What decides which contexts are held out."""
    dashboard = row.dashboard
    return {
        "seed": seed,
        "corpus": dashboard.corpus_revision,
        "context_size": dashboard.context_size,
    }


def _load_batch(sae: Sae, rows: list[Feature], texts: int, seed: int) -> Iterator[FeatureExamples]:
    examples = _examples([row.pk for row in rows])
    neighbours = {index for row in rows for index in row.nearest}
    others = _examples_of_indices(sae, neighbours)
    pool = _sample_pool(sae, seed)
    contexts = list(({c.pk: c for c in pool} | _contexts_of(others)).values())
    activations = activations_in_contexts(
        model_cache.load_model(sae.model),
        Target(model_cache.load_sae(sae), sae.hook, sae.rule_of_dashboards),
        [context.token_ids for context in contexts],
        [row.index for row in rows],
    )
    own = [example.sequence for group in examples.values() for example in group]
    batch = Batch(
        pool,
        {context.pk: fired for context, fired in zip(contexts, activations, strict=True)},
        _vocabulary(sae, rows, [*contexts, *own]),
        texts,
        seed,
    )
    for row in rows:
        nearest = [(e.sequence, e.peak) for index in row.nearest for e in others.get(index, [])]
        yield example_selection.choose_texts(row, examples[row.pk], nearest, batch)


def _contexts_of(examples: dict[int, list[Example]]) -> dict[int, Context]:
    return {e.sequence_id: e.sequence for group in examples.values() for e in group}


def _examples(features: Sequence[int]) -> dict[int, list[Example]]:
    grouped: dict[int, list[Example]] = defaultdict(list)
    examples = Example.objects.filter(feature__in=features).select_related("sequence")
    for example in examples.order_by("band", "rank"):
        grouped[example.feature_id].append(example)
    return grouped


def _examples_of_indices(sae: Sae, indices: set[int]) -> dict[int, list[Example]]:
    """The five top examples of each of those features."""
    chosen = Example.objects.filter(
        feature__sae=sae, feature__index__in=indices, band=0, rank__lt=5
    )
    grouped: dict[int, list[Example]] = defaultdict(list)
    for e in chosen.select_related("sequence", "feature").order_by("rank"):
        grouped[e.feature.index].append(e)
    return grouped


def _sample_pool(sae: Sae, seed: int) -> list[Context]:
    """Held-out contexts of the dashboards' corpus, the same ones for every feature."""
    dashboard = sae.dashboard
    bos = dashboard.corpus.begins_with_bos(sae.prepend_bos)
    stored = Context.objects.filter(
        corpus=dashboard.corpus_id, model=sae.model_id, context_size=dashboard.context_size, bos=bos
    )
    held_out = [
        pk
        for pk, position in stored.order_by("position").values_list("pk", "position")
        if is_held_out(seed, position)
    ]
    sample = random.Random(seed).sample(held_out, min(POOL, len(held_out)))
    return list(Context.objects.filter(pk__in=sample).order_by("position"))


def _vocabulary(sae: Sae, rows: list[Feature], contexts: list[Context]) -> Vocabulary:
    tokens = {token for context in contexts for token in context.token_ids}
    tokens |= {token for row in rows for token in [*row.top_logit_ids, *row.bottom_logit_ids]}
    return vocabulary_of(sae.model_id, tokens)
