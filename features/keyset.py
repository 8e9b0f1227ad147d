"""Keyset paging for every list, on pages and in the API: a page begins after the last row of the page before it.

No OFFSET and no COUNT(*): page 1,000 costs what page 1 costs, and rows that come or go meanwhile shift nothing. The
cursor is the last row's keys, signed for its list, so that a damaged one, or one of another list, is told apart.
DRF's own cursor counts rows of equal first key, at most 1,000 of them: thousands of features have a density of 0.
"""

import json
from collections.abc import Sequence
from functools import reduce
from typing import Any, NamedTuple

from django.core import signing
from django.db.models import Model, Q, QuerySet, Value
from django.db.models.expressions import RawSQL
from django.db.models.functions import Cast

from features.fields import RealField

CHEAP = 2500.0
"""In PostgreSQL's units, as EXPLAIN says it: to read some forty thousand entries of an index, a few milliseconds."""


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
    filtered: bool = False,
) -> Keyset:
    """The `limit` rows after `cursor`, in order of `keys`: field names, "-" before those that fall; together unique.

    `of` names the list with its filters: a cursor is only good for the list that gave it. With `wide` the rows are read from
    there once their keys are known, so that indexes alone can tell which they are; where they are `filtered`, PostgreSQL is asked
    first what that takes. Raises `BadCursor`.
    """
    rows = rows.order_by(*keys)
    salt = f"features.keyset {of} {' '.join(keys)}"
    if cursor:
        try:
            last = signing.loads(cursor, salt=salt)
        except signing.BadSignature:
            raise BadCursor("The cursor is damaged or belongs to another list: begin again without it.") from None
        rows = rows.filter(_after(keys, [_typed(rows.model, *pair) for pair in zip(keys, last, strict=True)]))
    if wide is not None:
        first = _first(rows, keys, limit + 1) if filtered else rows.values("pk")[: limit + 1]
        rows = wide.filter(pk__in=first).order_by(*keys)
    found = list(rows[: limit + 1])
    if len(found) <= limit:
        return Keyset(found, "")
    return Keyset(found[:limit], signing.dumps([_value(found[limit - 1], key) for key in keys], salt=salt))


def _first(rows: QuerySet[Any], keys: Sequence[str], count: int) -> Any:
    """The primary keys of the first rows, as a query: filtered first and then sorted where PostgreSQL finds that cheap.

    Left to itself it walks through the order until enough rows pass the filter, as if filter and order had nothing to do with
    each other: where what is sought is at the far end, that reads all of it.
    """
    fields = [key.removeprefix("-") for key in keys]
    inner = rows.order_by().values_list("pk", *fields)
    if json.loads(inner.explain(format="json"))[0]["Plan"]["Total Cost"] > CHEAP:
        return rows.values("pk")[:count]
    sql, params = inner.query.sql_with_params()
    order = ", ".join(f"k{place} {'DESC' if key.startswith('-') else 'ASC'}" for place, key in enumerate(keys))
    names = ", ".join(f"k{place}" for place in range(len(keys)))
    return RawSQL(f"SELECT pk FROM ({sql} OFFSET 0) AS few(pk, {names}) ORDER BY {order} LIMIT %s", [*params, count])


def _after(keys: Sequence[str], last: Sequence[Any]) -> Q:
    """Rows after `last`: x > a, or x = a and what follows is after it."""
    name, way = (keys[0][1:], "lt") if keys[0].startswith("-") else (keys[0], "gt")
    beyond = Q((f"{name}__{way}", last[0]))
    if len(keys) == 1:
        return beyond
    return Q((f"{name}__{way}e", last[0])) & (beyond | _after(keys[1:], last[1:]))  # x >= a alone can use an index


def _typed(model: type[Model], key: str, value: Any) -> Any:
    """The value as its column holds it: 0.9 as a float of eight bytes equals no 0.9 of four, and a page would never end."""
    name = key.lstrip("-")
    if "__" in name or not isinstance(model._meta.get_field(name), RealField):
        return value
    return Cast(Value(value), RealField())


def _value(row: Model, key: str) -> Any:
    return reduce(getattr, key.lstrip("-").split("__"), row)
