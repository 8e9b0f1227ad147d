"""Reads of an SAE's map: the places of its live features, whole or a sample."""

from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import F, IntegerField
from django.db.models.functions import Mod

from features.models import Dashboard, Feature, Sae
from features.token_spans import named_token, visible
from features.vocabulary import vocabulary_of


class MapPoint(NamedTuple):
    """Where one feature lies, and what colours it."""

    index: int  # type: ignore[assignment]  # tuple has a method of that name, unused here
    x: float
    y: float
    cluster: int | None
    density: float


class Points(NamedTuple):
    """The whole map as columns of one length, by rising `indices`; `tokens[token[i]]` is what
    feature i promotes most, and `labels[i]` its label, empty where it has none.
    """

    indices: list[int]
    x: list[float]
    y: list[float]
    clusters: list[int | None]
    densities: list[float]
    maxima: list[float]
    token: list[int]
    labels: list[str]
    tokens: list[str]


def version(dashboard: Dashboard) -> str:
    """A text that changes when the map does, or a label on it; one query."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(sum(hashint8extended(f.label_id, l.version)::numeric), 0) FROM "
            "features_feature f"
            " JOIN features_label l ON l.id = f.label_id WHERE f.sae_id = %s",
            [dashboard.sae_id],
        )
        labelled = cursor.fetchone()[0]
    return (
        f"{dashboard.pk}-{dashboard.made.timestamp():.6f}-{dashboard.mapped_by_id or 0}-{labelled}"
    )


def points(sae: Sae) -> Points:
    """Every feature on the map, in two queries. Coordinates and densities have the digits that a
    screen can show.
    """
    rows = list(
        Feature.objects.filter(sae=sae, map_x__isnull=False)
        .order_by("index")
        .values_list(
            "index",
            "map_x",
            "map_y",
            "cluster",
            "density",
            "max_activation",
            "top_logit_ids__0",
            "label__text",
        )
    )
    known = sorted({row[6] for row in rows if row[6] is not None})
    vocabulary = vocabulary_of(sae.model_id, known)
    number = {token_id: place for place, token_id in enumerate(known)}
    columns: list[Any] = list(zip(*rows, strict=True)) or [()] * 8
    return Points(
        indices=list(columns[0]),
        x=[round(x, 3) for x in columns[1]],
        y=[round(y, 3) for y in columns[2]],
        clusters=list(columns[3]),
        densities=[_digits(density) for density in columns[4]],
        maxima=[_digits(value) for value in columns[5]],
        token=[number.get(token_id, -1) for token_id in columns[6]],
        tokens=[visible(named_token(token_id, vocabulary)) for token_id in known],
        labels=[text or "" for text in columns[7]],
    )


def sample(dashboard: Dashboard, most: int) -> tuple[MapPoint, ...]:
    """At most `most` places, evenly by index; one query, and none where this process read the same
    map before.
    """
    return _sample(
        dashboard.sae_id, -(-dashboard.sae.width // most), dashboard.made, dashboard.mapped_by_id
    )


@lru_cache(maxsize=16)
def _sample(sae: int, step: int, made: datetime, mapped_by: int | None) -> tuple[MapPoint, ...]:
    rows = Feature.objects.filter(sae=sae, map_x__isnull=False).order_by("index")
    if step > 1:
        rows = rows.annotate(turn=Mod(F("index"), step, output_field=IntegerField())).filter(turn=0)
    return tuple(
        MapPoint(*row) for row in rows.values_list("index", "map_x", "map_y", "cluster", "density")
    )


def _digits(value: float) -> float:
    return float(f"{value:.4g}")
