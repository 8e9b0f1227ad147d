"""Keyset paging for every list, on pages and in the API: a page begins after the last row of the
page before it.

No OFFSET and no COUNT(*): page 1,000 costs what page 1 costs, and rows that come or go meanwhile
shift nothing. The cursor is the last row's keys, signed for its list, so that a damaged one, or one
of another list, is told apart. DRF's own cursor counts rows of equal first key, at most 1,000 of
them: thousands of features have a density of 0.
"""

import json
from collections.abc import Iterator, Sequence
from functools import reduce
from typing import Any, NamedTuple

from django.core import signing
from django.db.models import Model, Q, QuerySet, Value
from django.db.models.expressions import RawSQL
from django.db.models.functions import Cast

from features.db.fields import RealField

NEAR = 1500
"""Rows at the beginning of a list among which filtered ones are sought first, where enough are
expected there.
"""
FEW, CHEAP = 600.0, 2500.0
"""In PostgreSQL's units, as EXPLAIN says it: to read some ten and forty thousand entries of an
index, in about three and twelve milliseconds.
"""


class BadCursor(ValueError):
    """The cursor is damaged, or was given out by another list."""


class Keyset(NamedTuple):
    """One page of rows, and the cursor of the page after it (empty at the end)."""

    rows: list[Any]
    next: str


def page(
    rows: QuerySet[Any],
    keys: Sequence[str],
    *,
    limit: int,
    cursor: str = "",
    of: str = "",
    wide: QuerySet[Any] | None = None,
    unfiltered: QuerySet[Any] | None = None,
    size: int = 0,
) -> Keyset:
    """The `limit` rows after `cursor`, in order of `keys`: field names, "-" before those that fall;
    together unique.

    `of` names the list with its filters: a cursor is only good for the list that gave it. With
    `wide` the rows are read from there once their keys are known, so that indexes alone can tell
    which they are. Where they are filtered, `unfiltered` are the rows that the index of the order
    holds in one run, about `size` of them: the first of these may be read before others. Raises
    `BadCursor`.
    """
    beyond = Q()
    salt = f"features.db.keyset {of} {' '.join(keys)}"
    if cursor:
        try:
            last = signing.loads(cursor, salt=salt)
        except signing.BadSignature:
            raise BadCursor(
                "The cursor is damaged or belongs to another list: begin again without it."
            ) from None
        beyond = _after(keys, [_typed(rows.model, *pair) for pair in zip(keys, last, strict=True)])
    rows = rows.filter(beyond).order_by(*keys)
    if wide is None:
        found = list(rows[: limit + 1])
    elif unfiltered is None:
        found = list(wide.filter(pk__in=rows.values("pk")[: limit + 1]).order_by(*keys))
    else:
        found = []
        for first in _firsts(
            rows, unfiltered.filter(beyond).order_by(*keys), size, keys, limit + 1
        ):
            found = list(wide.filter(pk__in=first).order_by(*keys))
            if len(found) > limit:
                break
    if len(found) <= limit:
        return Keyset(found, "")
    return Keyset(
        found[:limit], signing.dumps([_value(found[limit - 1], key) for key in keys], salt=salt)
    )


def _firsts(
    rows: QuerySet[Any], unfiltered: QuerySet[Any], size: int, keys: Sequence[str], count: int
) -> Iterator[Any]:
    """The primary keys of the first rows, as queries: where one finds fewer, the next may find
    more, and the last finds all.

    Left to itself PostgreSQL walks through the order until enough rows pass the filter, as if
    filter and order had nothing to do with each other: where what is sought is at the far end, that
    reads all of it. So it walks a little way where that is likely to do, and else filters first
    where it finds that cheap.
    """
    fields = [key.removeprefix("-") for key in keys]
    inner = rows.order_by().values_list("pk", *fields)
    plan = json.loads(inner.explain(format="json"))[0]["Plan"]
    if plan["Total Cost"] > FEW and plan["Plan Rows"] * NEAR > count * size:
        yield _near(rows, unfiltered, count)
    if plan["Total Cost"] > CHEAP:
        yield rows.values("pk")[:count]
        return
    sql, params = inner.query.sql_with_params()
    order = ", ".join(
        f"k{place} {'DESC' if key.startswith('-') else 'ASC'}" for place, key in enumerate(keys)
    )
    names = ", ".join(f"k{place}" for place in range(len(keys)))
    yield RawSQL(
        f"SELECT pk FROM ({sql} OFFSET 0) AS few(pk, {names}) ORDER BY {order} LIMIT %s",
        [*params, count],
    )


def _near(rows: QuerySet[Any], unfiltered: QuerySet[Any], count: int) -> RawSQL:
    """Those that are among the first `NEAR` unfiltered ones."""
    table, (sql, params) = (
        rows.model._meta.db_table,
        rows.values("pk")[:count].query.sql_with_params(),
    )
    among, given = unfiltered[:NEAR].query.sql_with_params()
    return RawSQL(
        f'WITH "{table}" AS NOT MATERIALIZED ({among}) {sql}', [*given, *params]
    )  # stands for the table


def _after(keys: Sequence[str], last: Sequence[Any]) -> Q:
    """Rows after `last`: x > a, or x = a and what follows is after it."""
    name, way = (keys[0][1:], "lt") if keys[0].startswith("-") else (keys[0], "gt")
    beyond = Q((f"{name}__{way}", last[0]))
    if len(keys) == 1:
        return beyond
    return Q((f"{name}__{way}e", last[0])) & (
        beyond | _after(keys[1:], last[1:])
    )  # x >= a alone can use an index


def _typed(model: type[Model], key: str, value: Any) -> Any:
    """The value as its column holds it: 0.9 as a float of eight bytes equals no 0.9 of four, and a
    page would never end.
    """
    name = key.lstrip("-")
    if "__" in name or not isinstance(model._meta.get_field(name), RealField):
        return value
    return Cast(Value(value), RealField())


def _value(row: Model, key: str) -> Any:
    return reduce(getattr, key.lstrip("-").split("__"), row)
