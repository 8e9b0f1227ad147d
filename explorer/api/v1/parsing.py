"""Parsing of requests: JSON bodies with limits, and query strings without unknown parameters."""

import json
from collections.abc import Mapping
from typing import IO, Any

from rest_framework.exceptions import ParseError, ValidationError
from rest_framework.parsers import JSONParser
from rest_framework.request import Request
from rest_framework.serializers import Serializer

from explorer.api.v1.fields import Query


class SafeJSONParser(JSONParser):
    """JSON that Python can parse and PostgreSQL can store: not nested too deeply, no half of a
    surrogate pair.
    """

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """The body as Python data; Django has checked its size. Raises `ParseError`."""
        try:
            data = json.loads(stream.read().decode("utf-8"), parse_constant=_refuse)
            json.dumps(data, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            raise ParseError("The text holds half of a surrogate pair.") from None
        except RecursionError:
            raise ParseError("The JSON is nested too deeply.") from None
        except ValueError as error:
            raise ParseError(f"This is not JSON: {error}") from None
        return data


def parse_query(request: Request, form: type[Serializer[Any]] = Query) -> dict[str, Any]:
    """The validated query string. Raises `ValidationError`, also for parameters that `form` has
    not.
    """
    fields = form().fields
    unknown = [name for name in request.query_params if name not in fields]
    if unknown:
        remedy = f"There is no such parameter. Known: {', '.join(fields) or 'none'}."
        raise ValidationError({name: [remedy] for name in unknown})
    parsed = form(data=request.query_params)
    parsed.is_valid(raise_exception=True)
    return dict(parsed.validated_data)


def parse_body(
    request: Request, shape: type[Serializer[Any]], *, partial: bool = False
) -> dict[str, Any]:
    """The validated body, with `partial` of some fields only. A query string is not allowed. Raises
    `ValidationError`.
    """
    parse_query(request)
    parsed = shape(data=request.data, partial=partial)
    parsed.is_valid(raise_exception=True)
    return dict(parsed.validated_data)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON number")
