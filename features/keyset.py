"""Keyset paging for every list, on pages and in the API: a page begins after the last row of the page before it.

No OFFSET and no COUNT(*): page 1,000 costs what page 1 costs, and rows that come or go meanwhile shift nothing. The
cursor is the last row's keys, signed for its list, so that a damaged one, or one of another list, is told apart.
DRF's own cursor counts rows of equal first key, at most 1,000 of them: thousands of features have a density of 0.
"""

from collections.abc import Sequence
from functools import reduce
from typing import Any, NamedTuple

from django.core import signing
from django.db.models import Model, Q, QuerySet, Value
from django.db.models.functions import Cast

from features.fields import RealField


class BadCursor(ValueError):
    """The cursor is damaged, or was given out by another list."""


class Keyset(NamedTuple):
    """One page of rows, and the cursor of the page after it (empty at the end)."""

    rows: list[Any]
    next: str


def page(rows: QuerySet[Any], keys: Sequence[str], *, limit: int, cursor: str = "", of: str = "") -> Keyset:
    """The `limit` rows after `cursor`, in order of `keys`: field names, "-" before those that fall; together unique.

    `of` names the list with its filters: a cursor is only good for the list that gave it. Raises `BadCursor`.
    """
    rows = rows.order_by(*keys)
    salt = f"features.keyset {of} {' '.join(keys)}"
    if cursor:
        try:
            last = signing.loads(cursor, salt=salt)
        except signing.BadSignature:
            raise BadCursor("The cursor is damaged or belongs to another list: begin again without it.") from None
        rows = rows.filter(_after(keys, [_typed(rows.model, *pair) for pair in zip(keys, last, strict=True)]))
    found = list(rows[: limit + 1])
    if len(found) <= limit:
        return Keyset(found, "")
    return Keyset(found[:limit], signing.dumps([_value(found[limit - 1], key) for key in keys], salt=salt))


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
