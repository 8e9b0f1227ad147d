"""How PostgreSQL is asked for the first features of a filtered list, by what EXPLAIN expects.

Left to itself PostgreSQL walks the index of the order until enough rows pass the filters, as if
filters and order were independent: where all that pass are at the far end, it reads the whole SAE.
So a list is read in one of three ways, each an index-only scan:

1. Where the first `WALKED` rows of the order are expected to hold a page, these alone are filtered.
2. Where few rows pass, or the first way found too few, all rows that pass are read, then sorted.
3. Where too many pass for that, PostgreSQL walks the index of the order as far as it must.

This file leans on what EXPLAIN estimates, and on `QuerySet.query.sql_with_params`, which Django
does not document. `tests.benchmarks.bench_browse` measures 225 filters and orders (`make bench
PARTS=browse`); tests/features/selectors/test_feature_lists.py compares each way with a plain list.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from django.db.models import QuerySet
from django.db.models.expressions import RawSQL

from features.models import Feature

WALKED = 1500
"""Rows at the beginning of the order that are filtered before others."""
CHEAP, AFFORDABLE = 600.0, 2500.0
"""In PostgreSQL's units of cost: reading some ten and forty thousand entries of an index, in about
three and twelve milliseconds.
"""


def first_features(
    matching: QuerySet[Feature],
    unfiltered: QuerySet[Feature],
    width: int,
    keys: Sequence[str],
    count: int,
    select: QuerySet[Feature],
) -> list[Feature]:
    """The first `count` features of a filtered list, with the columns of `select`: two queries, or
    three where the first of these finds too few.

    `matching` are the rows that pass the filters, `unfiltered` those among which the index of the
    order is walked, about `width` of them; both are in the order of `keys`.
    """
    features: list[Feature] = []
    for ids in _ids(matching, unfiltered, width, keys, count):
        features = list(select.filter(pk__in=ids).order_by(*keys))
        if len(features) == count:
            break
    return features


def _ids(
    matching: QuerySet[Feature],
    unfiltered: QuerySet[Feature],
    width: int,
    keys: Sequence[str],
    count: int,
) -> Iterator[Any]:
    """Subqueries of the ids. Where one has fewer than `count`, the next may have more; the last has
    all.
    """
    unordered = matching.order_by().values_list("pk", *(key.removeprefix("-") for key in keys))
    plan = json.loads(unordered.explain(format="json"))[0]["Plan"]
    cost, rows = plan["Total Cost"], plan["Plan Rows"]
    if cost > CHEAP and rows * WALKED > count * width:
        yield _among_the_first(matching, unfiltered, count)
    if cost > AFFORDABLE:
        yield matching.values("pk")[:count]
    else:
        yield _filtered_first(unordered, keys, count)


def _among_the_first(
    matching: QuerySet[Feature], unfiltered: QuerySet[Feature], count: int
) -> RawSQL:
    """Those of the first `WALKED` rows that pass the filters.

    The query of `matching` stays as Django writes it, but reads those rows instead of the table: a
    WITH clause in front of it defines them under the table's name, which hides the table itself.

        WITH "features_feature" AS NOT MATERIALIZED (
            SELECT id, density, … FROM features_feature WHERE sae_id = 1
            ORDER BY density, index LIMIT 1500)
        SELECT id FROM "features_feature" WHERE sae_id = 1 AND cluster = 7
        ORDER BY density, index LIMIT 51
    """
    table = Feature._meta.db_table
    first_rows, first_params = unfiltered[:WALKED].query.sql_with_params()
    sql, params = matching.values("pk")[:count].query.sql_with_params()
    return RawSQL(
        f'WITH "{table}" AS NOT MATERIALIZED ({first_rows}) {sql}', [*first_params, *params]
    )


def _filtered_first(unordered: QuerySet[Any], keys: Sequence[str], count: int) -> RawSQL:
    """Those of all rows that pass the filters, sorted afterwards: PostgreSQL does not look through
    OFFSET 0 for an index of the order.
    """
    sql, params = unordered.query.sql_with_params()
    names = ", ".join(f"key_{i}" for i in range(len(keys)))
    order = ", ".join(
        f"key_{i} {'DESC' if key.startswith('-') else 'ASC'}" for i, key in enumerate(keys)
    )
    return RawSQL(
        f"SELECT pk FROM ({sql} OFFSET 0) AS matching(pk, {names}) ORDER BY {order} LIMIT %s",
        [*params, count],
    )
