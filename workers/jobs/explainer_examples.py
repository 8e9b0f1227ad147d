"""From rows to what a language model is shown of features: examples of the dashboards, and contexts
in which they are silent.
"""

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from features.models import Example, Feature, Sae
from features.models import Sequence as Context
from features.selectors.vocabulary import vocabulary_of
from features.token_spans import Vocabulary, spans, text_of
from workers import model_cache
from workers.pipeline.autointerp.examples import (
    BEFORE,
    STRONG_SHARE,
    ExampleText,
    FeatureExamples,
    is_held_out,
    text_around,
)
from workers.pipeline.autointerp.feature_activations import (
    ContextActivations,
    activations_in_contexts,
)
from workers.pipeline.dashboards.corpus_pass import Target

AT_ONCE = 32
"""Features whose texts are read together."""
POOL = 96
"""Contexts drawn from the corpus in which features may be silent."""

T = TypeVar("T")


class _Found(NamedTuple):
    """A context, and where a feature fires in it; `centre` is the token that the text is cut
    around.
    """

    context: Context
    fired: dict[int, float]
    centre: int


def materials(sae: Sae, indices: Sequence[int], texts: int, seed: int) -> Iterator[FeatureExamples]:
    """The material of each of those features, `texts` of a kind at most, in their order."""
    for start in range(0, len(indices), AT_ONCE):
        rows = {
            row.index: row
            for row in Feature.objects.filter(sae=sae, index__in=indices[start : start + AT_ONCE])
        }
        yield from _some(
            sae,
            [rows[index] for index in indices[start : start + AT_ONCE] if index in rows],
            texts,
            seed,
        )


def dealt(row: Sae, seed: int) -> dict[str, Any]:
    """What decides on which side each context is."""
    dashboard = row.dashboard
    return {
        "seed": seed,
        "corpus": dashboard.corpus_revision,
        "context_size": dashboard.context_size,
    }


def _some(sae: Sae, rows: list[Feature], texts: int, seed: int) -> Iterator[FeatureExamples]:
    examples = _examples([row.pk for row in rows])
    near = {row.index: row.nearest for row in rows}
    others = _examples_of_indices(sae, {index for indices in near.values() for index in indices})
    pool = _pool(sae, seed)
    contexts = {context.pk: context for context in pool}
    contexts |= {e.sequence_id: e.sequence for found in others.values() for e in found}
    target = Target(model_cache.load_sae(sae), sae.hook)
    language = model_cache.load_model(sae.model)
    ordered = list(contexts.values())
    fired = activations_in_contexts(
        language, target, [context.token_ids for context in ordered], [row.index for row in rows]
    )
    on = {context.pk: found for context, found in zip(ordered, fired, strict=True)}
    vocabulary = _vocabulary(
        sae, rows, [*ordered, *(e.sequence for found in examples.values() for e in found)]
    )
    for row in rows:
        alike = [(e.sequence, e.peak) for index in near[row.index] for e in others.get(index, [])]
        yield _material(row, examples[row.pk], pool, alike, on, vocabulary, texts, seed)


def _material(
    row: Feature,
    examples: list[Example],
    pool: list[Context],
    near: list[tuple[Context, int]],
    on: dict[int, ContextActivations],
    vocabulary: Vocabulary,
    texts: int,
    seed: int,
) -> FeatureExamples:
    draw = random.Random(f"{seed} {row.index}")
    found: dict[bool, dict[int, _Found]] = {False: {}, True: {}}
    for e in sorted(examples, key=lambda e: -max(e.values)):
        fires = dict(zip(e.positions, e.values, strict=True))
        side = found[is_held_out(seed, e.sequence.position)]
        side.setdefault(e.sequence_id, _Found(e.sequence, fires, max(fires, key=fires.__getitem__)))
    learn = [_cut(one, vocabulary) for one in _evenly(list(found[False].values()), texts)]
    peaks = {e.sequence.token_ids[e.peak] for e in examples if e.band == 0}
    anywhere = [
        (context, draw.randrange(1, len(context.token_ids)))
        for context in pool
        if len(context.token_ids) > 1
    ]
    at_peaks = [
        (context, at)
        for context in pool
        for at, token in enumerate(context.token_ids)
        if token in peaks
    ]
    draw.shuffle(anywhere)
    draw.shuffle(at_peaks)

    def silent(places: list[tuple[Context, int]], shown: list[ExampleText]) -> list[ExampleText]:
        pieces: dict[int, ExampleText] = {}
        for context, centre in places:
            piece = _cut(_Found(context, on[context.pk].get(row.index, {}), centre), vocabulary)
            if (
                len(pieces) < texts
                and context.pk not in pieces
                and not any(piece.values)
                and _new(piece, shown)
            ):
                pieces[context.pk] = piece
        return list(pieces.values())

    strong = [
        one
        for one in found[True].values()
        if max(one.fired.values()) >= STRONG_SHARE * row.max_activation
    ]
    firing = [piece for piece in (_cut(one, vocabulary) for one in strong) if _new(piece, learn)]
    alike = silent([place for place in near if not is_held_out(seed, place[0].position)], [])
    shown = [*learn, *alike]
    hard = silent([place for place in near if is_held_out(seed, place[0].position)], shown)[
        : (texts + 1) // 2
    ]
    hard += silent(at_peaks, [*shown, *hard])
    return FeatureExamples(
        row.index,
        row.max_activation,
        learn,
        alike,
        _evenly(firing, texts),
        silent(anywhere, shown),
        hard[:texts],
        [text_of([token], vocabulary) for token in row.top_logit_ids],
        [text_of([token], vocabulary) for token in row.bottom_logit_ids],
    )


def _new(piece: ExampleText, shown: list[ExampleText]) -> bool:
    """Whether it is no text that was shown already: corpora repeat themselves, and the same words
    teach the answer.
    """
    return not any(piece.plain in other.plain or other.plain in piece.plain for other in shown)


def _cut(found: _Found, vocabulary: Vocabulary) -> ExampleText:
    """The text around the centre; tokens that split a character are one piece."""
    fired = sorted(found.fired.items())
    boxes = [
        box
        for box in spans(
            found.context.token_ids,
            vocabulary,
            [at for at, _ in fired],
            [value for _, value in fired],
        )
        if not box.special
    ]
    centre = next(
        (n for n, box in enumerate(boxes) if box.position + len(box.token_ids) > found.centre),
        BEFORE,
    )
    return text_around([box.text for box in boxes], [box.value or 0.0 for box in boxes], centre)


def _evenly(found: list[T], count: int) -> list[T]:
    """So many of them, over the whole range from the strongest to the weakest."""
    if len(found) <= count:
        return found
    return [found[round(place * (len(found) - 1) / (count - 1))] for place in range(count)]


def _examples(features: Sequence[int]) -> dict[int, list[Example]]:
    grouped: dict[int, list[Example]] = defaultdict(list)
    for e in (
        Example.objects.filter(feature__in=features)
        .select_related("sequence")
        .order_by("band", "rank")
    ):
        grouped[e.feature_id].append(e)
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


def _pool(sae: Sae, seed: int) -> list[Context]:
    """Held-out contexts of the dashboards' corpus, the same ones for every feature."""
    dashboard = sae.dashboard
    bos = dashboard.corpus.begins_with_bos(sae.prepend_bos)
    stored = Context.objects.filter(
        corpus=dashboard.corpus_id, model=sae.model_id, context_size=dashboard.context_size, bos=bos
    )
    places = [
        (pk, at)
        for pk, at in stored.order_by("position").values_list("pk", "position")
        if is_held_out(seed, at)
    ]
    chosen = random.Random(seed).sample(places, min(POOL, len(places)))
    return list(Context.objects.filter(pk__in=[pk for pk, _ in chosen]).order_by("position"))


def _vocabulary(sae: Sae, rows: list[Feature], contexts: list[Context]) -> Vocabulary:
    wanted = {token for context in contexts for token in context.token_ids}
    wanted |= {token for row in rows for token in [*row.top_logit_ids, *row.bottom_logit_ids]}
    return vocabulary_of(sae.model_id, wanted)
