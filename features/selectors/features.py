"""Reads of single features: everything about one, or its row alone."""

from collections.abc import Sequence
from itertools import groupby, zip_longest

from features.models import Feature, Sae
from features.selectors import feature_page_sql
from features.selectors.feature_page_sql import StoredExample
from features.selectors.feature_view import (
    Band,
    Elsewhere,
    FeatureView,
    Near,
    Partner,
    ShownExample,
    TokenLogit,
)
from features.selectors.snippets import WIDER, Part, near_peaks
from features.token_spans import Span, Vocabulary, named_token, spans, visible

LARGEST_INDEX = 2**31 - 1
"""The largest index that its column can hold."""


def feature(model: str, sae: str, index: int, *, whole: bool = True) -> FeatureView:
    """One feature with its examples, in two queries, and one where a token is new to this process;
    contexts from end to end, or `WIDER` around the peak alone.

    Raises `Feature.DoesNotExist`.
    """
    if index > LARGEST_INDEX:
        raise Feature.DoesNotExist
    stored = feature_page_sql.feature(model, sae, index)
    row, examples = stored.feature, feature_page_sql.examples(stored.feature.pk)
    boxes, vocabulary = _boxes(row, examples, whole)
    return FeatureView(
        feature=row,
        sae=row.sae,
        previous=stored.previous,
        next=stored.next,
        bands=_bands(row, list(map(shown_example, examples, boxes))),
        top_logits=logits_of(row.top_logit_ids, row.top_logits, vocabulary),
        bottom_logits=logits_of(row.bottom_logit_ids, row.bottom_logits, vocabulary),
        nearest=[
            Near(*neighbor)
            for neighbor in zip_longest(row.nearest, row.nearest_cosines, row.nearest_both)
        ],
        cofiring=list(map(Partner, row.cofiring, row.cofiring_jaccards, row.cofiring_both)),
        elsewhere=[Elsewhere(*match) for match in stored.elsewhere],
        effect=stored.effect,
    )


def row(model: str, sae: str, index: int) -> Feature:
    """One feature alone, with its SAE and model, in one query. Raises `Feature.DoesNotExist`."""
    return Feature.objects.of(model, sae).select_related("sae__model").get(index=index)


def random_alive(sae: Sae) -> int | None:
    """Index of a live feature, drawn evenly, in one query; None where there is none."""
    alive = Feature.objects.filter(sae=sae).alive().order_by("?")
    index: int | None = alive.values_list("index", flat=True).first()
    return index


def example_spans(example: StoredExample, vocabulary: Vocabulary, maximum: float) -> list[Span]:
    """The heatmap of an example's whole context, against the feature's maximum."""
    return spans(
        example.token_ids,
        vocabulary,
        example.positions,
        example.values,
        example.peak,
        maximum,
        left_out=example.left_out,
    )


def shown_example(example: StoredExample, tokens: list[Span]) -> ShownExample:
    """An example as it is shown, with its heatmap."""
    return ShownExample(
        sequence=example.sequence_id,
        name=f"{example.band}.{example.rank}",
        value=example.values[example.positions.index(example.peak)],
        peak=example.peak,
        document=example.document,
        position=example.position,
        tokens=tokens,
        positions=example.positions,
        values=example.values,
    )


def logits_of(ids: list[int], logits: list[float], vocabulary: Vocabulary) -> list[TokenLogit]:
    """Tokens with what a feature adds to their logits."""
    plain = [named_token(i, vocabulary) for i in ids]
    return [
        TokenLogit(i, visible(text), logit, text)
        for i, text, logit in zip(ids, plain, logits, strict=True)
    ]


def _boxes(
    row: Feature, examples: Sequence[StoredExample], whole: bool
) -> tuple[list[list[Span]], Vocabulary]:
    """The heatmap of each example, and the vocabulary with the tokens of the page."""
    parts = [
        Part(row.pk, e.peak, e.positions, e.values, 0, 0, e.token_ids, e.left_out) for e in examples
    ]
    reach = None if whole else WIDER
    promoted = {*row.top_logit_ids, *row.bottom_logit_ids}
    return near_peaks(parts, {row.pk: row.max_activation}, row.sae.model_id, reach, promoted)


def _bands(row: Feature, examples: Sequence[ShownExample]) -> list[Band]:
    """Examples, which come in the order of their bands, as bands."""
    return [
        _band(row, int(number), list(group))
        for number, group in groupby(examples, lambda e: e.name.partition(".")[0])
    ]


def _band(row: Feature, number: int, examples: list[ShownExample]) -> Band:
    """The band's edges lie on the grid of the histogram, so its share of the firings is exact."""
    if number == 0:
        return Band(0, 0.0, row.max_activation, examples, 1.0)
    edges = sorted(row.band_edges, reverse=True)
    low, high = edges[number], edges[number - 1]
    inside = row.histogram[round(low / row.histogram_width) : round(high / row.histogram_width)]
    return Band(number, low, min(high, row.max_activation), examples, sum(inside) / row.fires)
