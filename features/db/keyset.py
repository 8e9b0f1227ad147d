"""Keyset paging for every list, on pages and in the API: a page begins after the last row of the
page before it.

No OFFSET and no COUNT(*): page 1,000 costs what page 1 costs, and rows that are added or deleted
meanwhile shift nothing. The cursor is the last row's keys, signed for its list, so that a damaged
cursor, or one of another list, is recognized. DRF's own cursor counts rows of equal first key, at
most 1,000 of them: thousands of features have a density of 0.
"""

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, NamedTuple, TypeVar

from django.core import signing
from django.db.models import Model, Q, QuerySet, Value
from django.db.models.functions import Cast

from features.db.fields import RealField

Loaded = TypeVar("Loaded")


class BadCursor(ValueError):
    """The cursor is damaged, or belongs to another list."""


class Page(NamedTuple):
    """The rows of one page, and the cursor of the page after it (empty at the end)."""

    rows: list[Any]
    next: str


def page(
    rows: QuerySet[Any], keys: Sequence[str], *, limit: int, cursor: str = "", of: str = ""
) -> Page:
    """The `limit` rows after `cursor` in order of `keys`, in one query.

    `keys` are names of fields, "-" before those that fall; together they are unique. `of` names the
    list with its filters: a cursor is only good for the list that it came from. Raises `BadCursor`.
    """
    return make_page(list(after(rows, keys, cursor, of)[: limit + 1]), keys, limit, of)


def after(rows: QuerySet[Any], keys: Sequence[str], cursor: str, of: str) -> QuerySet[Any]:
    """The rows after `cursor` (all where it is empty) in order of `keys`. Raises `BadCursor`."""
    if cursor:
        try:
            last = signing.loads(cursor, salt=_salt(keys, of))
        except signing.BadSignature:
            raise BadCursor(
                "The cursor is damaged or belongs to another list: start again without it."
            ) from None
        values = [_typed(rows.model, *pair) for pair in zip(keys, last, strict=True)]
        rows = rows.filter(_beyond(keys, values))
    return rows.order_by(*keys)


def make_page(rows: list[Any], keys: Sequence[str], limit: int, of: str) -> Page:
    """The page that begins with these rows, where `limit` + 1 were asked for: one more than it
    shows tells whether another page follows.
    """
    if len(rows) <= limit:
        return Page(rows, "")
    last = [_key(rows[limit - 1], key) for key in keys]
    return Page(rows[:limit], signing.dumps(last, salt=_salt(keys, of)))


def page_or_first(load: Callable[[str], Loaded], cursor: str) -> tuple[Loaded, str]:
    """The page that `load` returns for the cursor, and an empty text; where the cursor is bad, the
    first page, and what is wrong.
    """
    try:
        return load(cursor), ""
    except BadCursor as error:
        return load(""), str(error)


def _salt(keys: Sequence[str], of: str) -> str:
    return f"features.db.keyset {of} {' '.join(keys)}"


def _beyond(keys: Sequence[str], last: Sequence[Any]) -> Q:
    """Rows after `last`: x > a, or x = a and the other keys are after theirs."""
    name, way = (keys[0][1:], "lt") if keys[0].startswith("-") else (keys[0], "gt")
    beyond = Q((f"{name}__{way}", last[0]))
    if len(keys) == 1:
        return beyond
    # x >= a alone can use an index
    return Q((f"{name}__{way}e", last[0])) & (beyond | _beyond(keys[1:], last[1:]))


def _typed(model: type[Model], key: str, value: Any) -> Any:
    """The value as its column holds it: 0.9 as a float of eight bytes equals no 0.9 of four, and a
    page would never end.
    """
    name = key.lstrip("-")
    if "__" in name or not isinstance(model._meta.get_field(name), RealField):
        return value
    return Cast(Value(value), RealField())


def _key(row: Model, key: str) -> Any:
    return reduce(getattr, key.lstrip("-").split("__"), row)
