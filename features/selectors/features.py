"""Reads of features: one page of a list, and everything about one."""

from collections.abc import Iterable, Mapping
from functools import cache
from itertools import groupby, zip_longest
from typing import Any, NamedTuple

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import OuterRef, QuerySet, Subquery
from django.db.models.functions import JSONObject

from features.db import keyset
from features.db.prepared import Compiled, Param
from features.models import Example, Feature, Match, Sae
from features.selectors.dashboard import (
    Band,
    Elsewhere,
    FeatureView,
    Near,
    Partner,
    ShownExample,
    TokenLogit,
)
from features.selectors.feature_columns import COLUMNS, POSITIVE, keys
from features.selectors.snippets import WIDER, Part, near_peaks, snippets
from features.token_spans import Span, Vocabulary, spans, text_of, visible

LISTED = ("sae_id", "index", "disputed", *COLUMNS)
"""Fields that a list needs: the others are arrays of a kilobyte a row."""
PAGE = 50
LAST = 2**31 - 1
"""The largest index that its column can hold."""


class FeaturePage(NamedTuple):
    """A page of features with a snippet of the top example of each, and the cursor of the next page
    (empty at the end).
    """

    features: list[Feature]
    snippets: dict[int, list[Span]]
    next: str


def features(
    sae: Sae,
    *,
    order: str = "index",
    alive: bool | None = None,
    has_label: bool | None = None,
    cluster: int | None = None,
    **ranges: float | None,
) -> QuerySet[Feature]:
    """Features of an SAE, filtered, and to be put in that order.

    `ranges` are ends of the columns that take them: density_min, max_activation_max …
    """
    rows = Feature.objects.filter(sae=sae)
    if has_label is not None:
        rows = rows.filter(label__isnull=not has_label)
    if alive:
        rows = rows.filter(**_lives(order, ranges))
    elif alive is not None:
        rows = rows.dead()
    if cluster is not None:
        rows = rows.filter(cluster=cluster)
    for name, end in ranges.items():
        column, _, which = name.rpartition("_")
        if end is not None:
            rows = rows.filter(
                (f"{COLUMNS[column].name}__{'gte' if which == 'min' else 'lte'}", end)
            )
    return rows


def page(
    sae: Sae, *, order: str = "index", cursor: str = "", size: int = PAGE, **filters: Any
) -> FeaturePage:
    """One page of `features`, with their snippets, in three queries, four where they are filtered.
    Raises `keyset.BadCursor`.
    """
    of = f"features of {sae.pk} {sorted(filters.items())}"
    found, way = features(sae, order=order, **filters), keys(order, filters.get("alive"))
    own = {
        name: value for name, value in filters.items() if name == "alive" or _of_order(name, order)
    }
    filtered = any(value is not None for name, value in filters.items() if name not in own)
    unfiltered = (
        features(sae, order=order, **own).values("id", *LISTED, "label_id") if filtered else None
    )
    wide = Feature.objects.select_related("label").only(*LISTED, "label__text")
    rows, after = keyset.page(
        found,
        way,
        limit=size,
        cursor=cursor,
        of=of,
        wide=wide,
        unfiltered=unfiltered,
        size=sae.width,
    )
    return FeaturePage(rows, snippets(rows, sae.model_id), after)


def _lives(order: str, ranges: Mapping[str, float | None]) -> dict[str, float]:
    """The lookups of what is alive, in the columns by which an index may be walked: there it begins
    with the first that lives.
    """
    named = {
        order.removeprefix("-"),
        *(name.rpartition("_")[0] for name, end in ranges.items() if end is not None),
    }
    columns = {POSITIVE[name] for name in named if name in POSITIVE}
    above = {
        column for column in columns if (ranges.get(f"{column}_min") or 0) > 0
    }  # these say so themselves
    return {f"{column}__gt": 0 for column in (columns or {"fires"}) - above}


def _of_order(filtered: str, order: str) -> bool:
    """Whether a filter is an end of the column by which the order is."""
    column, by = COLUMNS.get(filtered.rpartition("_")[0]), COLUMNS.get(order.removeprefix("-"))
    return column is not None and by is not None and column.order == by.order


def feature(model: str, sae: str, index: int, *, whole: bool = True) -> FeatureView:
    """One feature with its examples, in three queries; contexts from end to end, or `WIDER` around
    the peak alone.

    Raises `Feature.DoesNotExist`.
    """
    found = _one()(model=model, sae=sae, index=index) if index <= LAST else []
    if not found:
        raise Feature.DoesNotExist
    (row,) = found
    examples, also = _examples()(feature=row.pk), {*row.top_logit_ids, *row.bottom_logit_ids}
    parts = [
        Part(e.feature_id, e.peak, e.positions, e.values, 0, 0, e.sequence.token_ids)
        for e in examples
    ]
    reach = None if whole else WIDER
    shown, vocabulary = near_peaks(
        parts, {row.pk: row.max_activation}, row.sae.model_id, reach, also
    )
    return FeatureView(
        feature=row,
        sae=row.sae,
        previous=row.previous_alive,  # type: ignore[attr-defined]  # the annotations of `_one`
        next=row.next_alive,  # type: ignore[attr-defined]
        bands=_bands(row, [_shown(e, tokens) for e, tokens in zip(examples, shown, strict=True)]),
        top_logits=logits_of(row.top_logit_ids, row.top_logits, vocabulary),
        bottom_logits=logits_of(row.bottom_logit_ids, row.bottom_logits, vocabulary),
        nearest=[
            Near(*known)
            for known in zip_longest(row.nearest, row.nearest_cosines, row.nearest_both)
        ],
        cofiring=list(map(Partner, row.cofiring, row.cofiring_jaccards, row.cofiring_both)),
        elsewhere=[Elsewhere(**found) for found in row.elsewhere],  # type: ignore[attr-defined]
    )


@cache
def _one() -> Compiled[Feature]:
    """A feature with what its page says of its SAE, its live neighbours by index, and its nearest
    elsewhere.
    """
    nearest = Match.objects.filter(sae=OuterRef("sae"), index=OuterRef("index")).order_by(
        "-cosine", "other__slug"
    )
    siblings = Feature.objects.filter(sae=OuterRef("sae")).alive().values("index")
    rows = (
        Feature.objects.of(Param("model"), Param("sae"))
        .filter(index=Param("index"))
        .select_related("sae__model", "sae__dashboard__corpus", "sae__dashboard__job", "effect")
        .annotate(
            previous_alive=Subquery(
                siblings.filter(index__lt=OuterRef("index")).order_by("-index")[:1]
            ),
            next_alive=Subquery(siblings.filter(index__gt=OuterRef("index")).order_by("index")[:1]),
            elsewhere=ArraySubquery(
                nearest.values(
                    row=JSONObject(sae="other__slug", index="other_index", cosine="cosine")
                )
            ),
        )
    )
    return Compiled(rows)


@cache
def _examples() -> Compiled[Example]:
    return Compiled(
        Example.objects.filter(feature=Param("feature"))
        .select_related("sequence")
        .order_by("band", "rank")
    )


def row(model: str, sae: str, index: int) -> Feature:
    """One feature alone, with its SAE and model. Raises `Feature.DoesNotExist`."""
    return Feature.objects.of(model, sae).select_related("sae__model").get(index=index)


def random_alive(sae: Sae) -> int | None:
    """Index of a live feature, drawn evenly; None where there is none."""
    index: int | None = (
        Feature.objects.filter(sae=sae)
        .alive()
        .order_by("?")
        .values_list("index", flat=True)
        .first()
    )
    return index


def shown_example(e: Example, vocabulary: Vocabulary, maximum: float) -> ShownExample:
    """An example with its sequence, as a heatmap against the feature's maximum."""
    return _shown(
        e, spans(e.sequence.token_ids, vocabulary, e.positions, e.values, e.peak, maximum)
    )


def _shown(e: Example, tokens: list[Span]) -> ShownExample:
    return ShownExample(
        sequence=e.sequence_id,
        name=f"{e.band}.{e.rank}",
        value=e.values[e.positions.index(e.peak)],
        peak=e.peak,
        document=e.sequence.document,
        position=e.sequence.position,
        tokens=tokens,
        positions=e.positions,
        values=e.values,
    )


def logits_of(ids: list[int], logits: list[float], vocabulary: Vocabulary) -> list[TokenLogit]:
    """Tokens with what a feature adds to their logits."""
    plain = [text_of([i], vocabulary) for i in ids]
    return [
        TokenLogit(i, visible(text), logit, text)
        for i, text, logit in zip(ids, plain, logits, strict=True)
    ]


def _bands(row: Feature, examples: Iterable[ShownExample]) -> list[Band]:
    """Examples, in order of their bands."""
    return [
        _band(row, int(number), list(of))
        for number, of in groupby(examples, lambda e: e.name.partition(".")[0])
    ]


def _band(row: Feature, number: int, examples: list[ShownExample]) -> Band:
    """The band's edges lie on the grid of the histogram, so its share of the firings is exact."""
    if number == 0:
        return Band(0, 0.0, row.max_activation, examples, 1.0)
    edges = sorted(row.band_edges, reverse=True)
    low, high = edges[number], edges[number - 1]
    inside = row.histogram[round(low / row.histogram_width) : round(high / row.histogram_width)]
    return Band(number, low, min(high, row.max_activation), examples, sum(inside) / row.fires)
