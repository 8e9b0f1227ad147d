"""Lists of an SAE's features: filters, order, and one page with a snippet of each feature."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from django.db.models import QuerySet

from features.db import keyset
from features.models import Feature, Sae
from features.selectors.feature_columns import COLUMNS, POSITIVE, order_keys
from features.selectors.feature_list_plan import first_features
from features.selectors.snippets import snippets
from features.token_spans import Span

LISTED = ("sae_id", "index", "disputed", *COLUMNS)
"""Fields that a list needs: the others are arrays of a kilobyte a row."""
PAGE = 50


class FeaturePage(NamedTuple):
    """A page of features, by id a snippet of the top example of each, and the cursor of the next
    page (empty at the end).
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
    """The features of an SAE that pass the filters, to be put into that order.

    `ranges` are the ends of the columns that take them: density_min, max_activation_max …
    """
    rows = Feature.objects.filter(sae=sae)
    if has_label is not None:
        rows = rows.filter(label__isnull=not has_label)
    if alive:
        rows = rows.filter(**_alive_lookups(order, ranges))
    elif alive is not None:
        rows = rows.dead()
    if cluster is not None:
        rows = rows.filter(cluster=cluster)
    for name, end in ranges.items():
        column, _, side = name.rpartition("_")
        if end is not None:
            lookup = "gte" if side == "min" else "lte"
            rows = rows.filter((f"{COLUMNS[column].name}__{lookup}", end))
    return rows


def page(
    sae: Sae, *, order: str = "index", cursor: str = "", size: int = PAGE, **filters: Any
) -> FeaturePage:
    """One page of `features` with their snippets, in three queries; four or five where they are
    filtered. Raises `keyset.BadCursor`.
    """
    of, by = (
        f"features of {sae.pk} {sorted(filters.items())}",
        order_keys(order, filters.get("alive")),
    )
    matching = keyset.after(features(sae, order=order, **filters), by, cursor, of)
    select = Feature.objects.select_related("label").only(*LISTED, "label__text")
    # An index knows which rows these are; only then are the wide rows read.
    walked = {
        name: value for name, value in filters.items() if name == "alive" or _ends_of(name, order)
    }
    if any(value is not None for name, value in filters.items() if name not in walked):
        unfiltered = features(sae, order=order, **walked).values("id", *LISTED, "label_id")
        unfiltered = keyset.after(unfiltered, by, cursor, of)
        rows = first_features(matching, unfiltered, sae.width, by, size + 1, select)
    else:
        rows = list(select.filter(pk__in=matching.values("pk")[: size + 1]).order_by(*by))
    listed, following = keyset.make_page(rows, by, size, of)
    return FeaturePage(listed, snippets(listed, sae.model_id), following)


def _alive_lookups(order: str, ranges: Mapping[str, float | None]) -> dict[str, float]:
    """The lookups of live features, in the columns whose index may be walked: there it begins with
    the first live one. A column whose range begins above 0 needs none.
    """
    named = {
        order.removeprefix("-"),
        *(name.rpartition("_")[0] for name, end in ranges.items() if end is not None),
    }
    columns = {POSITIVE[name] for name in named if name in POSITIVE}
    above = {column for column in columns if (ranges.get(f"{column}_min") or 0) > 0}
    return {f"{column}__gt": 0 for column in (columns or {"fires"}) - above}


def _ends_of(name: str, order: str) -> bool:
    """Whether a filter is an end of the column that the list is ordered by."""
    column, by = COLUMNS.get(name.rpartition("_")[0]), COLUMNS.get(order.removeprefix("-"))
    return column is not None and by is not None and column.order == by.order
