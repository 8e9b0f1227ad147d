"""The one shape of every error under `/api/`: `{"error": {"code", "message", "fields"}}`."""

import logging
import math
from collections.abc import Iterator, Mapping
from typing import Any

from django.core.exceptions import (
    BadRequest,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
)
from django.db import OperationalError
from django.http import Http404, JsonResponse
from rest_framework import exceptions
from rest_framework.views import set_rollback

from explorer.api.v1.exceptions import Conflict, TooLarge, Unanswered, Unavailable
from explorer.http.health import log_database_away
from features.inference import requests as inference_requests
from features.records import InvalidInput
from features.services.labels import Changed, Gone

log = logging.getLogger("explorer.api")

Fields = Mapping[str, list[str]]


def error_response(
    code: str, message: str, fields: Fields | None = None, *, status: int
) -> JsonResponse:
    """An error in the one shape."""
    return JsonResponse(
        {"error": {"code": code, "message": message, "fields": dict(fields or {})}}, status=status
    )


def exception_handler(error: Exception, context: Mapping[str, Any]) -> JsonResponse:
    """The response to an exception of a view. An unexpected one is logged, and its details are not
    sent.
    """
    if isinstance(error, Http404):
        error = exceptions.NotFound()
    elif isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied()
    elif isinstance(error, RequestDataTooBig):
        error = TooLarge()
    elif isinstance(error, InvalidInput):
        error = _api_error(error)
    elif isinstance(error, inference_requests.NoAnswer):
        error = Unanswered(str(error))
    elif isinstance(error, OperationalError):
        log_database_away(context["request"], error)
        error = Unavailable()
    set_rollback()
    if isinstance(error, BadRequest | SuspiciousOperation):
        return error_response(
            "bad_request",
            "The request is malformed, or has more parameters than any needs.",
            status=400,
        )
    if not isinstance(error, exceptions.APIException):
        log.error("unhandled error at %s", context["request"].path, exc_info=error)
        return error_response(
            "server_error",
            "Something broke here. It was logged; it is not your request's fault.",
            status=500,
        )
    fields = dict(_fields(error.detail)) if isinstance(error, exceptions.ValidationError) else {}
    message = " ".join(_sentences(fields)) if fields else str(error.detail)
    response = error_response(_code(error), message, fields, status=error.status_code)
    for header, value in _headers(error):
        response[header] = value
    return response


def _api_error(error: InvalidInput) -> exceptions.APIException:
    """404 for a deleted row, 409 for a changed one, else 400 with the fields."""
    if isinstance(error, Gone):
        return exceptions.NotFound(error.message)
    if isinstance(error, Changed):
        return Conflict(f"{error.message} Read it again, then edit version {error.label.version}.")
    return exceptions.ValidationError(
        {"" if name == "__all__" else name: texts for name, texts in error.errors.items()}
    )


def _code(error: exceptions.APIException) -> str:
    return "invalid" if isinstance(error, exceptions.ValidationError) else str(error.default_code)


def _headers(error: exceptions.APIException) -> Iterator[tuple[str, str]]:
    if header := getattr(error, "auth_header", None):  # set by DRF
        yield "WWW-Authenticate", header
    if wait := getattr(error, "wait", None):
        yield "Retry-After", str(math.ceil(wait))


def _fields(detail: Any, path: str = "") -> Iterator[tuple[str, list[str]]]:
    """The errors of a serializer as pairs of a dotted name and its sentences."""
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            own = "" if name == "non_field_errors" else str(name)
            yield from _fields(inner, ".".join(filter(None, [path, own])))
    else:
        yield (
            path or "body",
            [str(sentence) for sentence in (detail if isinstance(detail, list) else [detail])],
        )


def _sentences(fields: Fields) -> Iterator[str]:
    for name, sentences in fields.items():
        yield f"{name}: {' '.join(sentences)}"
