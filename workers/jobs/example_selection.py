"""Which texts of a feature a language model is shown, and which are held out for scores."""

import random
from typing import NamedTuple, TypeVar

from features.models import Example, Feature
from features.models import Sequence as Context
from features.token_spans import Vocabulary, spans, text_of
from workers.pipeline.autointerp.examples import (
    BEFORE,
    STRONG_SHARE,
    ExampleText,
    FeatureExamples,
    is_held_out,
    text_around,
)
from workers.pipeline.autointerp.feature_activations import ContextActivations

T = TypeVar("T")


class _Context(NamedTuple):
    """A context with the feature's activation by position; its text is cut around `centre`."""

    context: Context
    activations: dict[int, float]
    centre: int


class _Candidates(NamedTuple):
    """Contexts with the token at their centre, in the order in which they are tried."""

    anywhere: list[tuple[Context, int]]
    at_peaks: list[tuple[Context, int]]
    nearest: list[tuple[Context, int]]


class Batch(NamedTuple):
    """What the features of a batch share. `activations` has those contexts that are not examples of
    the feature itself, by primary key.
    """

    pool: list[Context]
    activations: dict[int, ContextActivations]
    vocabulary: Vocabulary
    texts: int
    seed: int


def choose_texts(
    row: Feature, examples: list[Example], nearest: list[tuple[Context, int]], batch: Batch
) -> FeatureExamples:
    vocabulary, texts = batch.vocabulary, batch.texts
    shown, held_out = _split(examples, batch.seed)
    learn = [_cut(one, vocabulary) for one in _evenly(shown, texts)]
    candidates = _candidates(row, examples, nearest, batch)
    alike = _silent(row, _side(candidates.nearest, batch.seed, False), [], batch)
    seen = [*learn, *alike]
    return FeatureExamples(
        row.index,
        row.max_activation,
        learn,
        alike,
        _evenly(_firing(row, held_out, learn, vocabulary), texts),
        _silent(row, candidates.anywhere, seen, batch),
        _hard(row, candidates, seen, batch),
        [text_of([token], vocabulary) for token in row.top_logit_ids],
        [text_of([token], vocabulary) for token in row.bottom_logit_ids],
    )


def _split(examples: list[Example], seed: int) -> tuple[list[_Context], list[_Context]]:
    """Contexts for writing labels and held-out ones, strongest first, each context once."""
    sides: dict[bool, dict[int, _Context]] = {False: {}, True: {}}
    for example in sorted(examples, key=lambda example: -max(map(abs, example.values))):
        activations = dict(zip(example.positions, map(abs, example.values), strict=True))
        peak = max(activations, key=activations.__getitem__)
        side = sides[is_held_out(seed, example.sequence.position)]
        side.setdefault(example.sequence_id, _Context(example.sequence, activations, peak))
    return list(sides[False].values()), list(sides[True].values())


def _candidates(
    row: Feature, examples: list[Example], nearest: list[tuple[Context, int]], batch: Batch
) -> _Candidates:
    """Where the feature may not fire: random tokens of the pool, tokens on which it peaks
    elsewhere, and the peaks of its nearest features.
    """
    generator = random.Random(f"{batch.seed} {row.index}")
    peaks = {e.sequence.token_ids[e.peak] for e in examples if e.band == 0}
    anywhere = [
        (context, generator.randrange(1, len(context.token_ids)))
        for context in batch.pool
        if len(context.token_ids) > 1
    ]
    at_peaks = [
        (context, position)
        for context in batch.pool
        for position, token in enumerate(context.token_ids)
        if token in peaks
    ]
    generator.shuffle(anywhere)
    generator.shuffle(at_peaks)
    return _Candidates(anywhere, at_peaks, nearest)


def _side(
    candidates: list[tuple[Context, int]], seed: int, held_out: bool
) -> list[tuple[Context, int]]:
    return [one for one in candidates if is_held_out(seed, one[0].position) == held_out]


def _silent(
    row: Feature, candidates: list[tuple[Context, int]], seen: list[ExampleText], batch: Batch
) -> list[ExampleText]:
    """The first texts in which the feature does not fire, one of a context."""
    pieces: dict[int, ExampleText] = {}
    for context, centre in candidates:
        if len(pieces) >= batch.texts:
            break
        activations = batch.activations[context.pk].get(row.index, {})
        piece = _cut(_Context(context, activations, centre), batch.vocabulary)
        if context.pk not in pieces and not any(piece.values) and _is_new(piece, seen):
            pieces[context.pk] = piece
    return list(pieces.values())


def _firing(
    row: Feature, held_out: list[_Context], learn: list[ExampleText], vocabulary: Vocabulary
) -> list[ExampleText]:
    threshold = STRONG_SHARE * row.max_activation
    strong = [one for one in held_out if max(one.activations.values()) >= threshold]
    pieces = (_cut(one, vocabulary) for one in strong)
    return [piece for piece in pieces if _is_new(piece, learn)]


def _hard(
    row: Feature, candidates: _Candidates, seen: list[ExampleText], batch: Batch
) -> list[ExampleText]:
    """Up to half from examples of the nearest features, the others around peak tokens."""
    near = _silent(row, _side(candidates.nearest, batch.seed, True), seen, batch)
    near = near[: (batch.texts + 1) // 2]
    return [*near, *_silent(row, candidates.at_peaks, [*seen, *near], batch)][: batch.texts]


def _is_new(piece: ExampleText, seen: list[ExampleText]) -> bool:
    """Whether the text was not shown before: corpora repeat themselves, and repeated text gives
    the answer away.
    """
    return not any(piece.plain in other.plain or other.plain in piece.plain for other in seen)


def _cut(one: _Context, vocabulary: Vocabulary) -> ExampleText:
    """The text around the centre; tokens that split a character are one piece."""
    positions = sorted(one.activations)
    values = [one.activations[position] for position in positions]
    pieces = [
        span
        for span in spans(one.context.token_ids, vocabulary, positions, values)
        if not span.special
    ]
    centre = next(
        (n for n, span in enumerate(pieces) if span.position + len(span.token_ids) > one.centre),
        BEFORE,
    )
    return text_around(
        [span.text for span in pieces], [span.value or 0.0 for span in pieces], centre
    )


def _evenly(items: list[T], count: int) -> list[T]:
    """`count` of the items, evenly from the first to the last."""
    if len(items) <= count:
        return items
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]
