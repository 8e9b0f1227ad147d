"""Search by label: by words, by meaning, or by both, merged by reciprocal rank.

`InvalidInput` and `NoAnswer` pass through `search_meaning`.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any, NamedTuple

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, FloatField, Func, IntegerField, Q, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Cast
from pgvector import HalfVector
from pgvector.django import HalfVectorField

from features.inference import requests as inference_requests
from features.models import Label, LabelEmbedding, Sae
from features.selectors import label_query
from features.selectors.label_query import LabelQuery, Lexemes, Word

MAX_RANKED = 1500
"""Labels that have the words and are ranked; where there are more, the page says so and asks for
another word.
"""
MAX_EXPECTED_ROWS = 8_000
"""Labels with some words of a query among which those are sought: the index gives all of them
before the first is ranked.
"""
MAX_NEAREST = 100
"""Labels that meaning finds: a rank beyond hardly counts, and under filters each costs a longer
walk through the index.
"""
EFFORT = 200
"""Candidates of the walk through the index (its ef_search). Of a million labels it finds nine in
ten of the nearest hundred; half as many find eight, and twice as many hardly more.
"""
READ_WHOLE = 50_000
"""Features of SAEs that are read whole for their nearest labels: the index of all would be walked
in vain for them.
"""
FEW = 20_000
"""Labels expected to pass the filters that are read whole, too: the walk through the index gives up
after as many that fail.
"""
LEAST_COSINE = 0.3
"""With the bundled embedder what is less near has hardly to do with a query: “calendar” is 0.43
from days of the week, 0.10 from brackets.
"""
FILTERS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "density_min": lambda share: {"density__gte": share},
    "density_max": lambda share: {"density__lte": share},
    "alive": lambda alive: {"density__gt": 0} if alive else {"density": 0},
    "score_min": lambda score: {"score__gte": score},
    "causal_min": lambda effect: {"causal_effect__gte": effect},
    "causal_max": lambda effect: {"causal_effect__lte": effect},
    "author": lambda name: {"author__username": name},
    "method": lambda name: {"method": name},
}
"""What a search may be narrowed by, each as lookups on `Label`; forms and the API offer these
names.
"""

Row = tuple[int, int, int, int, int, float]
"""(label, feature, words less, words themselves less, length, -support): to be sorted by what
follows the first two.
"""


class Hit(NamedTuple):
    """A matching label; `cosine` is the similarity to the query, None if its words matched."""

    feature: int
    label: int
    cosine: float | None = None


class Words(NamedTuple):
    """Labels that match by words, by falling relevance; whether only `some` words matched, and
    whether `more` labels match than are ranked.
    """

    query: LabelQuery
    hits: list[Hit]
    some: bool
    more: bool


def search_words(
    text: str, saes: Sequence[Sae] | None, filters: Mapping[str, Any], *, query_alone: bool = False
) -> Words:
    """Labels that contain every word of a query (or a word that begins so, or is a typo away); if
    there are none, labels with some of them.

    Labels with the words as typed come first, then shorter ones, then better supported ones. `saes`
    None means all; `query_alone` parses the query without searching. If no label has every word,
    common words only rank labels that also have a rarer one, unless there are none. Two queries;
    four or five if no label has every word.
    """
    query = label_query.parse_label_query(text)
    if query_alone or not query.words or saes == []:
        return Words(query, [], False, False)
    within = label_query.of_saes([sae.pk for sae in saes] if saes is not None else None)
    rows, some = _labels(query, query.every(), within, filters), False
    if not rows and len(query.needed()) > 1:
        rows, some = _with_some(query, within, filters), True
    rows.sort(key=lambda row: (*row[2:], row[0]))
    return Words(
        query, [Hit(feature, label) for label, feature, *_ in rows], some, len(rows) >= MAX_RANKED
    )


def search_meaning(text: str, saes: Sequence[Sae] | None, filters: Mapping[str, Any]) -> list[Hit]:
    """Labels by meaning, nearest first, with a cosine of `LEAST_COSINE` or more.

    One inference request and two queries, three with filters. The index is scanned until enough
    labels pass the filters (pgvector's iterative scan); if few are expected to pass, they are read
    as a whole.
    """
    if saes == []:
        return []
    meant = inference_requests.request(
        {"kind": "embed", "embedder": settings.EMBEDDER, "text": text}
    )
    distance: Combinable = Func(
        Cast("vector", HalfVectorField(dimensions=len(meant["vector"]))),
        Value(HalfVector(meant["vector"]).to_text()),
        template="(%(expressions)s)",
        arg_joiner=" <=> ",
        output_field=FloatField(),
    )
    rows = LabelEmbedding.objects.filter(narrowed(filters, "label__"), embedder=meant["embedder"])
    if saes is not None:
        rows = rows.filter(sae__in=saes)
    if (saes is not None and sum(sae.width for sae in saes) <= READ_WHOLE) or _few(saes, filters):
        distance = distance + Value(0.0)  # what is no plain distance cannot be asked of the index
    near = rows.annotate(distance=distance).order_by("distance").values_list("pk", "distance")
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('hnsw.iterative_scan', 'relaxed_order', true), "
            "set_config('hnsw.ef_search', %s, true)",
            [str(EFFORT)],
        )
        cosines = {label: 1 - far for label, far in near[:MAX_NEAREST] if 1 - far >= LEAST_COSINE}
    features = dict(Label.objects.filter(pk__in=cosines).values_list("pk", "feature"))
    nearest = sorted(features, key=lambda label: -cosines[label])  # the scan's order is nearly that
    return [Hit(features[label], label, cosines[label]) for label in nearest]


def add_meaning(words: Words, meaning: Sequence[Hit]) -> Words:
    """Matches by words, to be merged with those by meaning; partial matches are dropped if there
    are any by meaning.
    """
    return words._replace(hits=[], some=False, more=False) if words.some and meaning else words


def _with_some(query: LabelQuery, within: str, filters: Mapping[str, Any]) -> list[Row]:
    """Labels with one of the rarer words or more; without any, labels with one of all words."""
    needed = query.needed()
    rarest = label_query.rarest(needed, MAX_EXPECTED_ROWS)
    rows = _labels(query, label_query.any_of(rarest), within, filters, needed)
    if rows or len(rarest) == len(needed):
        return rows
    return _labels(query, label_query.any_of(needed), within, filters, needed)


def _labels(
    query: LabelQuery,
    wanted: str,
    within: str,
    filters: Mapping[str, Any],
    counted: Sequence[Word] = (),
) -> list[Row]:
    """Labels that match a tsquery; those with more of the `counted` words come first."""
    rows = (
        Label.objects.shown()
        .filter(narrowed(filters), words=Lexemes(f"({wanted}){within}"))
        .order_by()
    )
    loosely = _how_many(word.tsquery() for word in counted) if counted else Value(0)
    exactly = _how_many(word.exact() for word in query.words)
    length = Func(F("words"), function="length", output_field=IntegerField())
    return list(
        rows.values_list("pk", "feature_id", -loosely, -exactly, length, -F("support"))[:MAX_RANKED]
    )


def _few(saes: Sequence[Sae] | None, filters: Mapping[str, Any]) -> bool:
    """Whether PostgreSQL expects few labels to pass."""
    wanted = narrowed(filters)
    if not wanted:
        return False
    rows = (
        Label.objects.filter(wanted) if saes is None else Label.objects.filter(wanted, sae__in=saes)
    )
    plan = json.loads(rows.order_by().values("pk").explain(format="json"))[0]["Plan"]
    return bool(plan["Plan Rows"] <= FEW)


def _how_many(wanted: Iterable[str]) -> Combinable:
    """The number of labels that match each tsquery."""
    each = (
        Func(
            F("words"),
            Lexemes(one),
            template="(%(expressions)s)::int",
            arg_joiner=" @@ ",
            output_field=IntegerField(),
        )
        for one in wanted
    )
    return reduce(add, each)


def narrowed(filters: Mapping[str, Any], prefix: str = "") -> Q:
    """The conditions of all filters, on labels or on the relation `prefix` to labels."""
    wanted = (FILTERS[name](value) for name, value in filters.items() if value not in (None, ""))
    return Q(
        *((f"{prefix}{lookup}", value) for lookups in wanted for lookup, value in lookups.items())
    )
