"""Refusals that DRF has no exception for."""

from rest_framework import status
from rest_framework.exceptions import APIException

from explorer.http.health import RETRY_SECONDS


class Conflict(APIException):
    """The request is well formed, but the row is in a state that does not allow it."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "conflict"
    default_detail = "The state does not allow this."


class TooLarge(APIException):
    """The body is larger than any request needs."""

    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "too_large"
    default_detail = "The body is larger than any request needs."


class Unanswered(APIException):
    """No worker answered in time."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "unanswered"
    default_detail = "No worker answered."


class Unavailable(APIException):
    """The database restarts, or has no connection left."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "unavailable"
    default_detail = "The database is not responding. Nothing was changed: try again."
    wait = RETRY_SECONDS
