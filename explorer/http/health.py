"""Whether this process can serve: asked by `manage.py up`, by compose and by load balancers; and
what is said where it cannot.
"""

import logging

from django.db import Error, OperationalError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.utils.deprecation import MiddlewareMixin

log = logging.getLogger(__name__)
RETRY_SECONDS = 5
"""A database that restarts is back by then, and so is one of the connections."""


def healthz(request: HttpRequest) -> JsonResponse:
    """200 where the database answers, 503 where it does not."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error:
        return JsonResponse({"database": "unreachable"}, status=503)
    return JsonResponse({"database": "ok"})


def log_database_away(request: HttpRequest, error: OperationalError) -> None:
    """Leave a trace of a request that the database did not answer."""
    log.warning("the database did not answer at %s: %s", request.path, error)


class DatabaseAway(MiddlewareMixin):
    """503 where the database restarts, or all connections are taken for longer than a request
    waits.
    """

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """The page that says so; other errors are somebody else's. The API says it in its own
        shape.
        """
        if not isinstance(exception, OperationalError):
            return None
        log_database_away(request, exception)
        return HttpResponse(
            render_to_string("503.html"), status=503, headers={"Retry-After": str(RETRY_SECONDS)}
        )
