"""Reads of features: one page of a list, and everything about one."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import groupby, zip_longest
from typing import Any, NamedTuple

from django.contrib.postgres.expressions import ArraySubquery
from django.db import connection
from django.db.models import OuterRef, QuerySet, Subquery
from django.db.models.functions import JSONObject

from features import keyset
from features.compiled import Compiled, Param
from features.models import Example, Feature, Match, Sae
from features.selectors.columns import COLUMNS, POSITIVE, keys
from features.tokens import Span, Vocabulary, around, short, spans, text_of, visible

LISTED = ("sae_id", "index", "disputed", *COLUMNS)
"""Fields that a list needs: the others are arrays of a kilobyte a row."""
SNIPPET = (12, 12)
"""Boxes before a peak and after it, in lists."""
WIDER = (24, 12)
"""The same of examples on a feature's own page."""
PAGE = 50
LAST = 2**31 - 1
"""The largest index that its column can hold."""
MOST_KEPT = 200_000
"""Tokens that a process keeps, about 40 MB of them."""
MOST_TOKENS = 4
"""Tokens of a box: a character has at most so many bytes."""
BEST = """
SELECT e.feature_id, e.peak, e.positions, e.values, greatest(e.peak - %(before)s, 0),
    greatest(cardinality(s.token_ids) - e.peak - 1 - %(after)s, 0),
    s.token_ids[e.peak + 1 - %(before)s : e.peak + 1 + %(after)s]
FROM features_example e JOIN features_sequence s ON s.id = e.sequence_id
WHERE e.feature_id = ANY(%(features)s) AND e.band = 0 AND e.rank = 0
"""
_kept: dict[int, dict[int, tuple[bytes, bool]]] = {}


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
    share: float


class ShownExample(NamedTuple):
    """One example as a heatmap; `value` is the activation at its peak, `positions` and `values` are every firing.

    `sequence` is the id of its context, `name` its band and rank: 0.3 is the fourth of the top examples.
    """

    sequence: int
    name: str
    value: float
    peak: int
    document: str
    position: int
    tokens: list[Span]
    positions: list[int]
    values: list[float]


class Part(NamedTuple):
    """An example's firings, and tokens around its peak: the first is at place `first` of its context, `after` more follow."""

    feature: int
    peak: int
    positions: list[int]
    values: list[float]
    first: int
    after: int
    token_ids: list[int]


class TokenLogit(NamedTuple):
    """How much the feature's direction adds to one token's logit. `text` shows blanks as signs; `plain` leaves them."""

    token_id: int
    text: str
    logit: float
    plain: str


class Near(NamedTuple):
    """A feature whose decoder direction is near; `both` tokens have both fire, None where that was not counted."""

    index: int  # type: ignore[assignment]  # tuple has a method of that name, which nobody calls here
    cosine: float
    both: int | None


class Partner(NamedTuple):
    """A feature that fires on the same tokens: on `both` of them, a share `jaccard` of those on which either fires."""

    index: int  # type: ignore[assignment]  # as above
    jaccard: float
    both: int


class Elsewhere(NamedTuple):
    """The feature of another SAE of the model whose decoder direction is nearest."""

    sae: str
    index: int  # type: ignore[assignment]  # as above
    cosine: float


class FeatureView(NamedTuple):
    """Everything the feature page and its API twin show."""

    feature: Feature
    sae: Sae
    previous: int | None
    next: int | None
    bands: list[Band]
    top_logits: list[TokenLogit]
    bottom_logits: list[TokenLogit]
    nearest: list[Near]
    cofiring: list[Partner]
    elsewhere: list[Elsewhere]

    @property
    def reads(self) -> list[str]:
        """Up to three tokens on which the top examples peak, most frequent first, each in two examples or more."""
        top = next((band.examples for band in self.bands if band.number == 0), [])
        peaks = Counter(short(span.text) for e in top for span in e.tokens if span.peak)
        return [text for text, times in peaks.most_common(3) if times > 1 or len(top) == 1]

    @property
    def writes(self) -> list[str]:
        """The two tokens that the feature promotes most, without blanks around."""
        rising = [short(t.plain) for t in self.top_logits if t.logit > 0]
        return list(dict.fromkeys(rising))[:2]


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
            rows = rows.filter((f"{COLUMNS[column].name}__{'gte' if which == 'min' else 'lte'}", end))
    return rows


def page(sae: Sae, *, order: str = "index", cursor: str = "", size: int = PAGE, **filters: Any) -> FeaturePage:
    """One page of `features`, with their snippets, in three queries, four where they are filtered. Raises `keyset.BadCursor`."""
    of = f"features of {sae.pk} {sorted(filters.items())}"
    found, way = features(sae, order=order, **filters), keys(order, filters.get("alive"))
    own = {name: value for name, value in filters.items() if name == "alive" or _of_order(name, order)}
    filtered = any(value is not None for name, value in filters.items() if name not in own)
    unfiltered = features(sae, order=order, **own).values("id", *LISTED, "label_id") if filtered else None
    wide = Feature.objects.select_related("label").only(*LISTED, "label__text")
    rows, after = keyset.page(
        found, way, limit=size, cursor=cursor, of=of, wide=wide, unfiltered=unfiltered, size=sae.width
    )
    return FeaturePage(rows, snippets(rows, sae.model_id), after)


def _lives(order: str, ranges: Mapping[str, float | None]) -> dict[str, float]:
    """The lookups of what is alive, in the columns by which an index may be walked: there it begins with the first that lives."""
    named = {order.removeprefix("-"), *(name.rpartition("_")[0] for name, end in ranges.items() if end is not None)}
    columns = {POSITIVE[name] for name in named if name in POSITIVE}
    above = {column for column in columns if (ranges.get(f"{column}_min") or 0) > 0}  # these say so themselves
    return {f"{column}__gt": 0 for column in (columns or {"fires"}) - above}


def _of_order(filtered: str, order: str) -> bool:
    """Whether a filter is an end of the column by which the order is."""
    column, by = COLUMNS.get(filtered.rpartition("_")[0]), COLUMNS.get(order.removeprefix("-"))
    return column is not None and by is not None and column.order == by.order


def snippets(rows: Iterable[Feature], model_id: int) -> dict[int, list[Span]]:
    """By feature id, the words around the peak of its best example: a query, and one where their tokens are new here."""
    maxima = {row.pk: row.max_activation for row in rows}
    before, after = (MOST_TOKENS * (boxes + 1) for boxes in SNIPPET)
    with connection.cursor() as cursor:
        cursor.execute(BEST, {"features": list(maxima), "before": before, "after": after})
        parts = [Part(*row) for row in cursor.fetchall()]
    found, _ = _near_peaks(parts, maxima, model_id, SNIPPET)
    return {part.feature: spans for part, spans in zip(parts, found, strict=True)}


def feature(model: str, sae: str, index: int, *, whole: bool = True) -> FeatureView:
    """One feature with its examples, in three queries; contexts from end to end, or `WIDER` around the peak alone.

    Raises `Feature.DoesNotExist`.
    """
    found = _one()(model=model, sae=sae, index=index) if index <= LAST else []
    if not found:
        raise Feature.DoesNotExist
    (row,) = found
    examples, also = _examples()(feature=row.pk), {*row.top_logit_ids, *row.bottom_logit_ids}
    parts = [Part(e.feature_id, e.peak, e.positions, e.values, 0, 0, e.sequence.token_ids) for e in examples]
    reach = None if whole else WIDER
    shown, vocabulary = _near_peaks(parts, {row.pk: row.max_activation}, row.sae.model_id, reach, also)
    return FeatureView(
        feature=row,
        sae=row.sae,
        previous=row.previous_alive,  # type: ignore[attr-defined]  # the annotations of `_one`
        next=row.next_alive,  # type: ignore[attr-defined]
        bands=_bands(row, [_shown(e, tokens) for e, tokens in zip(examples, shown, strict=True)]),
        top_logits=logits_of(row.top_logit_ids, row.top_logits, vocabulary),
        bottom_logits=logits_of(row.bottom_logit_ids, row.bottom_logits, vocabulary),
        nearest=[Near(*known) for known in zip_longest(row.nearest, row.nearest_cosines, row.nearest_both)],
        cofiring=list(map(Partner, row.cofiring, row.cofiring_jaccards, row.cofiring_both)),
        elsewhere=[Elsewhere(**found) for found in row.elsewhere],  # type: ignore[attr-defined]
    )


@cache
def _one() -> Compiled[Feature]:
    """A feature with what its page says of its SAE, its live neighbours by index, and its nearest elsewhere."""
    nearest = Match.objects.filter(sae=OuterRef("sae"), index=OuterRef("index")).order_by("-cosine", "other__slug")
    siblings = Feature.objects.filter(sae=OuterRef("sae")).alive().values("index")
    rows = (
        Feature.objects.of(Param("model"), Param("sae"))
        .filter(index=Param("index"))
        .select_related("sae__model", "sae__dashboard__corpus", "sae__dashboard__job", "effect")
        .annotate(
            previous_alive=Subquery(siblings.filter(index__lt=OuterRef("index")).order_by("-index")[:1]),
            next_alive=Subquery(siblings.filter(index__gt=OuterRef("index")).order_by("index")[:1]),
            elsewhere=ArraySubquery(
                nearest.values(row=JSONObject(sae="other__slug", index="other_index", cosine="cosine"))
            ),
        )
    )
    return Compiled(rows)


@cache
def _examples() -> Compiled[Example]:
    return Compiled(
        Example.objects.filter(feature=Param("feature")).select_related("sequence").order_by("band", "rank")
    )


def row(model: str, sae: str, index: int) -> Feature:
    """One feature alone, with its SAE and model. Raises `Feature.DoesNotExist`."""
    return Feature.objects.of(model, sae).select_related("sae__model").get(index=index)


def random_alive(sae: Sae) -> int | None:
    """Index of a live feature, drawn evenly; None where there is none."""
    index: int | None = Feature.objects.filter(sae=sae).alive().order_by("?").values_list("index", flat=True).first()
    return index


def vocabulary_of(model_id: int, token_ids: Iterable[int]) -> Vocabulary:
    """Bytes of the tokens named, and of others that were read before, which are kept: a model's tokens are written with it and
    never change. One query where one is new."""
    known, wanted = _kept.get(model_id, {}), set(token_ids)
    new = wanted.difference(known)
    if not new:
        return known
    if sum(map(len, _kept.values())) + len(new) > MOST_KEPT:
        _kept.clear()
        known, new = {}, wanted
    with connection.cursor() as cursor:
        cursor.execute(  # the ids go as one text, for a list of thousands takes long to put together
            "SELECT token_id, text, special FROM features_token WHERE model_id = %s AND token_id = ANY(%s::int[])",
            [model_id, f"{{{','.join(map(str, new))}}}"],
        )
        known.update((token_id, (bytes(text), special)) for token_id, text, special in cursor.fetchall())
    _kept[model_id] = known
    return known


def shown_example(e: Example, vocabulary: Vocabulary, maximum: float) -> ShownExample:
    """An example with its sequence, as a heatmap against the feature's maximum."""
    return _shown(e, spans(e.sequence.token_ids, vocabulary, e.positions, e.values, e.peak, maximum))


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
    return [TokenLogit(i, visible(text), logit, text) for i, text, logit in zip(ids, plain, logits, strict=True)]


def _bands(row: Feature, examples: Iterable[ShownExample]) -> list[Band]:
    """Examples, in order of their bands."""
    return [_band(row, int(number), list(of)) for number, of in groupby(examples, lambda e: e.name.partition(".")[0])]


def _band(row: Feature, number: int, examples: list[ShownExample]) -> Band:
    """The band's edges lie on the grid of the histogram, so its share of the firings is exact."""
    if number == 0:
        return Band(0, 0.0, row.max_activation, examples, 1.0)
    edges = sorted(row.band_edges, reverse=True)
    low, high = edges[number], edges[number - 1]
    inside = row.histogram[round(low / row.histogram_width) : round(high / row.histogram_width)]
    return Band(number, low, min(high, row.max_activation), examples, sum(inside) / row.fires)


def _near_peaks(
    parts: Sequence[Part],
    maxima: Mapping[int, float],
    model_id: int,
    reach: tuple[int, int] | None,
    also: Iterable[int] = (),
) -> tuple[list[list[Span]], Vocabulary]:
    """The boxes of examples of features with these maxima, `reach` of them before the peak and after it (None: all), and the
    vocabulary that was read, with that of `also`. One query where a token is new here."""
    vocabulary = vocabulary_of(
        model_id, {i for part in parts for i in part.token_ids[_near(part, reach, MOST_TOKENS)]}.union(also)
    )
    return [_around(part, vocabulary, maxima[part.feature], reach) for part in parts], vocabulary


def _around(part: Part, vocabulary: Vocabulary, maximum: float, reach: tuple[int, int] | None) -> list[Span]:
    """Mostly a box is one token: what that many tokens lack is sought in as many as boxes can have."""
    found = _boxes(part, vocabulary, maximum, _near(part, reach, 1), reach)
    if found is None:
        found = _boxes(part, vocabulary, maximum, _near(part, reach, MOST_TOKENS), reach, last=True)
    return found or []


def _near(part: Part, reach: tuple[int, int] | None, tokens: int) -> slice:
    """The tokens that may be needed, so many for each box, and for one box more than is shown."""
    if reach is None:
        return slice(0, len(part.token_ids))
    before, after = (tokens * (boxes + 1) for boxes in reach)
    peak = part.peak - part.first
    return slice(max(peak - before, 0), peak + after + 1)


def _boxes(
    part: Part,
    vocabulary: Vocabulary,
    maximum: float,
    near: slice,
    reach: tuple[int, int] | None,
    *,
    last: bool = False,
) -> list[Span] | None:
    """The boxes of some tokens, with positions in the whole context; None where these hold too few and more can be asked for.

    The box at a cut end may be half of a character, so that one more than is shown must be there.
    """
    ids, first = part.token_ids, part.first + near.start
    boxes = spans(ids[near], vocabulary, part.positions, part.values, part.peak, maximum, first)
    if reach is None:
        return boxes
    middle = next((i for i, box in enumerate(boxes) if box.peak), 0)
    cut_before = first > 0 and middle <= reach[0]
    cut_after = near.stop < len(ids) + part.after and len(boxes) - 1 - middle <= reach[1]
    return None if (cut_before or cut_after) and not last else around(boxes, *reach)
