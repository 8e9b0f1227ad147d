"""Health checks for `manage.py up`, compose and load balancers, and the 503 of an unreachable
database.
"""

import logging

from django.db import Error, OperationalError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.utils.deprecation import MiddlewareMixin

log = logging.getLogger(__name__)
RETRY_SECONDS = 5
"""By then a restarting database is back, and a connection of the pool is free."""


def healthz(request: HttpRequest) -> JsonResponse:
    """200 if the database answers, else 503."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error:
        return JsonResponse({"database": "unreachable"}, status=503)
    return JsonResponse({"database": "ok"})


def log_database_away(request: HttpRequest, error: OperationalError) -> None:
    log.warning("the database did not answer at %s: %s", request.path, error)


class DatabaseAway(MiddlewareMixin):
    """503 while the database restarts, or when all connections are taken for longer than a request
    waits.
    """

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """The page of a 503. Views of the API handle the error themselves, in their own shape."""
        if not isinstance(exception, OperationalError):
            return None
        log_database_away(request, exception)
        return HttpResponse(
            render_to_string("503.html"), status=503, headers={"Retry-After": str(RETRY_SECONDS)}
        )
