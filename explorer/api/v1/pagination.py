"""Lists: `{"next", "results"}`, with keyset pagination."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import inline_serializer
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from features.db import keyset

NEXT = "Address of the next page; null at the end."


@cache
def page_of(item: type[serializers.BaseSerializer[Any]]) -> serializers.Serializer[Any]:
    """The schema of a page of `item`s."""
    fields: dict[str, Any] = {
        "next": serializers.URLField(allow_null=True, help_text=NEXT),
        "results": item(many=True),
    }
    return inline_serializer(f"{item.__name__.removesuffix('Serializer')}Page", fields)


def paginated_response(
    request: Request,
    rows: QuerySet[Any],
    keys: Sequence[str],
    query: dict[str, Any],
    serializer: Callable[..., serializers.BaseSerializer[Any]],
) -> Response:
    """One page of `rows` in order of `keys`, as `serializer(rows, many=True)`. Raises
    `ValidationError`.
    """
    filters = sorted(
        (name, value) for name, value in query.items() if name not in {"limit", "cursor"}
    )
    of = f"{request.path} {filters}"
    with cursor_errors():
        page = keyset.page(rows, keys, limit=query["limit"], cursor=query.get("cursor", ""), of=of)
    return list_response(request, serializer(page.rows, many=True), page.next)


def list_response(
    request: Request, results: serializers.BaseSerializer[Any], cursor: str
) -> Response:
    """A page and the URL of the next one, which begins at `cursor`."""
    return Response(
        {"next": with_query(request, cursor=cursor) if cursor else None, "results": results.data}
    )


@contextmanager
def cursor_errors() -> Iterator[None]:
    """Turn a bad cursor into a `ValidationError` of that parameter."""
    try:
        yield
    except keyset.BadCursor as error:
        raise ValidationError({"cursor": [str(error)]}) from None


def with_query(request: Request, **changes: Any) -> str:
    """The full URL of this request with some parameters changed."""
    parameters = request.query_params.copy()
    for name, value in changes.items():
        parameters[name] = str(value)
    return str(request.build_absolute_uri(f"{request.path}?{parameters.urlencode()}"))
