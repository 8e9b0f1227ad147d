"""What a visitor sees in place of a page that is not there."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views import defaults

from explorer.api.v1.errors import error_response
from explorer.http.requests import NotHere


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404, with what there is instead where the view knows."""
    known = exception if isinstance(exception, NotHere) else None
    context = {
        "message": known.message if known else "This page does not exist.",
        "choices": known.choices if known else [],
        "error_page": True,
    }
    return render(request, "404.html", context, status=404)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """400, for a request that Django refused before any view saw it; the API's callers get the
    API's shape.
    """
    if request.path_info.startswith("/api/"):
        return error_response("bad_request", "The request is malformed.", status=400)
    return defaults.bad_request(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """500, likewise, for what broke outside a view."""
    if request.path_info.startswith("/api/"):
        return error_response(
            "server_error", "Something went wrong. The error was logged.", status=500
        )
    return defaults.server_error(request)
