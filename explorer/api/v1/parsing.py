"""What comes in: JSON bodies that cannot hurt, and query strings of which every part is
understood.
"""

import json
from collections.abc import Mapping
from typing import IO, Any

from rest_framework.exceptions import ParseError, ValidationError
from rest_framework.parsers import JSONParser
from rest_framework.request import Request
from rest_framework.serializers import Serializer

from explorer.api.v1.fields import Query


class SafeJSONParser(JSONParser):
    """JSON that Python can hold and PostgreSQL can keep: not nested too deeply, no half of a
    surrogate pair.
    """

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """The body as Python data; its size was checked by Django. Raises `ParseError`."""
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
    """The query string as `form` understands it. Raises `ValidationError`, also for names that it
    does not know.
    """
    known = form().fields
    unknown = [name for name in request.query_params if name not in known]
    if unknown:
        remedy = f"There is no such parameter. Known: {', '.join(known) or 'none'}."
        raise ValidationError({name: [remedy] for name in unknown})
    parsed = form(data=request.query_params)
    parsed.is_valid(raise_exception=True)
    return dict(parsed.validated_data)


def parse_body(request: Request, shape: type[Serializer[Any]]) -> dict[str, Any]:
    """The request's body in that shape; there is no query string. Raises `ValidationError`."""
    parse_query(request)
    sent = shape(data=request.data)
    sent.is_valid(raise_exception=True)
    return dict(sent.validated_data)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON number")
