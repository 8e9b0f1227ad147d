"""The error pages, and the errors of the API outside its views."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views import defaults

from explorer.api.v1.errors import error_response
from explorer.http.requests import NotHere


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404, with the alternatives that a `NotHere` names."""
    not_here = exception if isinstance(exception, NotHere) else None
    context = {
        "message": not_here.message if not_here else "This page does not exist.",
        "choices": not_here.choices if not_here else [],
        "error_page": True,
    }
    return render(request, "404.html", context, status=404)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """400 for a request that Django refuses before any view; in the API's shape below /api/."""
    if request.path_info.startswith("/api/"):
        return error_response("bad_request", "The request is malformed.", status=400)
    return defaults.bad_request(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """500 for an error outside a view; in the API's shape below /api/."""
    if request.path_info.startswith("/api/"):
        return error_response(
            "server_error", "Something went wrong. The error was logged.", status=500
        )
    return defaults.server_error(request)
