"""OPTIONS: which methods a URL has, for pages and the API alike, without signing in."""

import inspect
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase


class OptionsMiddleware:
    """Answers OPTIONS with 204 and `Allow`, and adds OPTIONS to every other `Allow`."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """The response; a view that refuses OPTIONS says what it allows."""
        response = self.get_response(request)
        if "Allow" not in response:
            reads = request.method == "OPTIONS" and response.status_code < 300
            return _allow(["GET"]) if reads else response
        methods = response["Allow"].split(", ")
        return _allow(methods, response if request.method != "OPTIONS" else None)

    def process_view(
        self, request: HttpRequest, view: Any, args: Any, kwargs: Any
    ) -> HttpResponseBase | None:
        """Answer for a view whose methods are known without running it."""
        if request.method != "OPTIONS":
            return None
        methods = _methods_of_class(view) or _methods_of_function(view)
        return _allow(methods) if methods else None


def _methods_of_class(view: Any) -> list[str]:
    """The methods of a class-based view; none for a function."""
    cls = getattr(view, "cls", None) or getattr(view, "view_class", None)
    if cls is None:
        return []
    names = getattr(view, "actions", None) or [
        name for name in cls.http_method_names if name != "options" and hasattr(cls, name)
    ]
    return [name.upper() for name in names]


def _methods_of_function(view: Any) -> list[str]:
    """What Django's decorators (`require_safe`, `require_POST` …) allow, below all others such as
    `login_required`.
    """
    while callable(view):
        closure = inspect.getclosurevars(view).nonlocals if inspect.isfunction(view) else {}
        if methods := closure.get("request_method_list"):
            return list(methods)
        view = getattr(view, "__wrapped__", None)
    return []


def _allow(methods: list[str], response: HttpResponseBase | None = None) -> HttpResponseBase:
    """The response with these methods as `Allow`; by default an empty one."""
    response = HttpResponse(status=204) if response is None else response
    more = {"OPTIONS", *(["HEAD"] if "GET" in methods else [])}
    response["Allow"] = ", ".join(sorted({*methods, *more}))
    return response
