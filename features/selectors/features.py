"""Reads of features: one page of a list, and everything about one."""

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from django.db.models import Max, Min, OuterRef, QuerySet, Subquery

from features.models import Example, Feature, Sae, Token
from features.tokens import Span, Vocabulary, spans, text_of, visible

ORDERS = {
    "index": "index",
    "-density": "density, densest first",
    "density": "density, rarest first",
    "-max_activation": "maximum, largest first",
    "max_activation": "maximum, smallest first",
}
SNIPPET_BEFORE, SNIPPET_AFTER = 24, 12


class FeaturePage(NamedTuple):
    """A page of features with a snippet of the top example of each, and the cursor of the next page (empty at the end)."""

    features: list[Feature]
    snippets: dict[int, list[Span]]
    next: str


class Band(NamedTuple):
    """Examples of one band: 0 is the top, others lie between `low` and `high`; `share` is the band's part of all firings."""

    number: int
    low: float
    high: float
    examples: "list[ShownExample]"


class ShownExample(NamedTuple):
    """One example as a heatmap; `value` is the activation at its peak, `positions` and `values` are every firing."""

    id: int
    value: float
    peak: int
    document: str
    position: int
    tokens: list[Span]
    positions: list[int]
    values: list[float]


class TokenLogit(NamedTuple):
    """How much the feature's direction adds to one token's logit. `text` shows blanks as signs; `plain` leaves them."""

    token_id: int
    text: str
    logit: float
    plain: str


class FeatureView(NamedTuple):
    """Everything the feature page and its API twin show."""

    feature: Feature
    sae: Sae
    previous: int | None
    next: int | None
    bands: list[Band]
    top_logits: list[TokenLogit]
    bottom_logits: list[TokenLogit]
    nearest: list[tuple[int, float]]


def features(sae: Sae, *, order: str = "index", alive: bool | None = None, density_min: float | None = None,
             density_max: float | None = None) -> QuerySet[Feature]:  # fmt: skip
    """Features of an SAE, filtered and ordered (one of `ORDERS`, ties by index)."""
    rows = Feature.objects.filter(sae=sae)
    if alive is not None:
        rows = rows.alive() if alive else rows.dead()
    if density_min is not None:
        rows = rows.filter(density__gte=density_min)
    if density_max is not None:
        rows = rows.filter(density__lte=density_max)
    return rows.order_by("index") if order == "index" else rows.order_by(order, "index")


def snippets(rows: Iterable[Feature], model_id: int) -> dict[int, list[Span]]:
    """By feature id, the words around the peak of its best example: two queries for any number of features."""
    by_id = {row.pk: row for row in rows}
    best = list(Example.objects.filter(feature__in=by_id, band=0, rank=0).select_related("sequence"))
    cut = {e.pk: _around(e) for e in best}
    vocabulary = vocabulary_of(model_id, (i for low, high, e in cut.values() for i in e.sequence.token_ids[low:high]))
    return {
        e.feature_id: _spans(e, vocabulary, by_id[e.feature_id].max_activation, low, high)
        for low, high, e in cut.values()
    }


def feature(model: str, sae: str, index: int) -> FeatureView:
    """One feature with its examples, in three queries. Raises `Feature.DoesNotExist`."""
    siblings = Feature.objects.filter(sae=OuterRef("sae"), fires__gt=0).order_by().values("sae")
    row = (
        Feature.objects.of(model, sae)
        .select_related("sae__model", "sae__dashboard__corpus", "sae__dashboard__job")
        .annotate(
            previous_alive=Subquery(siblings.filter(index__lt=OuterRef("index")).annotate(i=Max("index")).values("i")),
            next_alive=Subquery(siblings.filter(index__gt=OuterRef("index")).annotate(i=Min("index")).values("i")),
        )
        .get(index=index)
    )
    examples = list(Example.objects.filter(feature=row).select_related("sequence").order_by("band", "rank"))
    wanted = {i for e in examples for i in e.sequence.token_ids} | {*row.top_logit_ids, *row.bottom_logit_ids}
    vocabulary = vocabulary_of(row.sae.model_id, wanted)
    return FeatureView(
        feature=row,
        sae=row.sae,
        previous=row.previous_alive,
        next=row.next_alive,
        bands=_bands(row, examples, vocabulary),
        top_logits=_logits(row.top_logit_ids, row.top_logits, vocabulary),
        bottom_logits=_logits(row.bottom_logit_ids, row.bottom_logits, vocabulary),
        nearest=list(zip(row.nearest, row.nearest_cosines, strict=True)),
    )


def random_alive(sae: Sae) -> int | None:
    """Index of a live feature, drawn evenly; None where there is none."""
    return Feature.objects.filter(sae=sae).alive().order_by("?").values_list("index", flat=True).first()


def vocabulary_of(model_id: int, token_ids: Iterable[int]) -> Vocabulary:
    """Bytes of the tokens named, in one query."""
    rows = Token.objects.filter(model_id=model_id, token_id__in=set(token_ids))
    return {
        token_id: (bytes(text), special) for token_id, text, special in rows.values_list("token_id", "text", "special")
    }


def _bands(row: Feature, examples: Iterable[Example], vocabulary: Vocabulary) -> list[Band]:
    grouped = defaultdict(list)
    for e in examples:
        shown = ShownExample(
            id=e.pk,
            value=e.values[e.positions.index(e.peak)],
            peak=e.peak,
            document=e.sequence.document,
            position=e.sequence.position,
            tokens=_spans(e, vocabulary, row.max_activation),
            positions=e.positions,
            values=e.values,
        )
        grouped[e.band].append(shown)
    edges = sorted(row.band_edges, reverse=True)
    return [
        Band(n, edges[n] if n else 0.0, edges[n - 1] if n else row.max_activation, grouped[n]) for n in sorted(grouped)
    ]


def _spans(e: Example, vocabulary: Vocabulary, maximum: float, low: int = 0, high: int | None = None) -> list[Span]:
    high = len(e.sequence.token_ids) if high is None else high
    fired = [(p - low, v) for p, v in zip(e.positions, e.values, strict=True) if low <= p < high]
    return spans(
        e.sequence.token_ids[low:high], vocabulary, [p for p, _ in fired], [v for _, v in fired], e.peak - low, maximum
    )


def _around(e: Example) -> tuple[int, int, Example]:
    return max(e.peak - SNIPPET_BEFORE, 0), min(e.peak + SNIPPET_AFTER + 1, len(e.sequence.token_ids)), e


def _logits(ids: list[int], logits: list[float], vocabulary: Vocabulary) -> list[TokenLogit]:
    plain = [text_of([i], vocabulary) for i in ids]
    return [TokenLogit(i, visible(text), logit, text) for i, text, logit in zip(ids, plain, logits, strict=True)]
