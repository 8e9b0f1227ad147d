"""What views share: the type of their requests, pages with htmx fragments, and a 404 that offers
alternatives.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from django.contrib.auth.models import AnonymousUser
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django_htmx.middleware import HtmxDetails

from explorer.models import User


class HtmxRequest(HttpRequest):
    """A request after the middleware of `settings.MIDDLEWARE`."""

    htmx: HtmxDetails
    user: User | AnonymousUser


class Choice(NamedTuple):
    """A link that a 404 page offers."""

    text: str
    url: str


class NotHere(Http404):
    """A 404 page that names what is missing and links to what exists."""

    def __init__(self, message: str, choices: Iterable[Choice] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.choices = list(choices)


def page(
    request: HtmxRequest,
    template: str,
    context: Mapping[str, Any],
    fragments: Mapping[str, str] | None = None,
    status: int = 200,
) -> HttpResponse:
    """The whole page, or for htmx only the partial of the element that it will replace.

    `fragments` maps an element's id to the name of a `{% partialdef %}` of the template.
    """
    fragment = (fragments or {}).get(request.htmx.target or "") if request.htmx else None
    name = f"{template}#{fragment}" if fragment else template
    return render(request, name, dict(context), status=status)
