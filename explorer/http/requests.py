"""What views share: the request as they see it, pages that are also fragments, and a 404 that says
what there is.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from django.contrib.auth.models import AnonymousUser
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django_htmx.middleware import HtmxDetails

from explorer.models import User


class HtmxRequest(HttpRequest):
    """A request after our middleware."""

    htmx: HtmxDetails
    user: User | AnonymousUser


class Choice(NamedTuple):
    """A link that a 404 offers instead."""

    text: str
    url: str


class NotHere(Http404):
    """A 404 for a person: what is missing, and what there is in its place."""

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
    """The whole page, or for htmx only the partial that belongs to the element it will replace.

    `fragments` maps an element's id to the name of a `{% partialdef %}` of the template.
    """
    wanted = (fragments or {}).get(request.htmx.target or "") if request.htmx else None
    response = render(
        request, f"{template}#{wanted}" if wanted else template, dict(context), status=status
    )
    if fragments:
        response["Vary"] = "HX-Request, HX-Target"
    return response
