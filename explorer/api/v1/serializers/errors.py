"""The schema of an error, and of what one operation answers."""

from collections.abc import Callable
from typing import Any, TypeVar

from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import serializers

F = TypeVar("F", bound=Callable[..., Any])

MEANINGS = {
    400: "Something in the request is wrong: `fields` says what, by name.",
    401: "The key or session is missing or not valid.",
    403: "This user may not do this.",
    404: "There is no such thing.",
    406: "JSON is the only format.",
    409: "The state does not allow it.",
    413: "The body is too large.",
    415: "The body must be `application/json`, or a form where a file is sent.",
    503: "No worker answered: none runs, or all are busy. Try again.",
    429: "Too many requests: `Retry-After` says how many seconds to wait.",
}


class ErrorBodySerializer(serializers.Serializer[Any]):
    """What went wrong."""

    code = serializers.CharField(help_text="A word for programs: invalid, not_found, throttled, …")
    message = serializers.CharField(
        help_text="A sentence for people, with the remedy where there is one."
    )
    fields = serializers.DictField(  # type: ignore[assignment]
        child=serializers.ListField(child=serializers.CharField()),
        help_text="By the name of the parameter or setting, what is wrong with it; empty where "
        "it is not about one.",
    )


class ErrorSerializer(serializers.Serializer[Any]):
    """The one shape of every error."""

    error = ErrorBodySerializer()


def operation(
    name: str, answers: Any, *errors: int, success: int = 200, example: Any = None, **kwargs: Any
) -> Callable[[F], F]:
    """Describe an operation: what it answers, and with which errors besides those that every one
    may give.
    """
    responses: dict[int, Any] = {success: answers}
    for code in sorted({400, 401, 406, 429, *errors}):
        responses[code] = OpenApiResponse(ErrorSerializer, MEANINGS[code])
    if example:
        kwargs["examples"] = [
            OpenApiExample(
                "Example", value=example, response_only=True, status_codes=[str(success)]
            )
        ]
    return extend_schema(operation_id=name, responses=responses, **kwargs)
