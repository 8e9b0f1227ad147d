"""Pages that are answered in two forms: whole, or for htmx only the part that it replaces."""

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers
from django_htmx.middleware import HtmxDetails

VARY = ("HX-Request", "HX-Target", "HX-History-Restore-Request", "HX-Boosted")
"""What the form of an answer depends on; caches, such as that of a browser's Back, tell them apart
by it.
"""


class Htmx(HtmxDetails):
    """True where htmx asks for a part. Where it restores a page of its history, or follows a
    boosted link, it needs the whole page.
    """

    def __bool__(self) -> bool:
        return super().__bool__() and not self.history_restore_request and not self.boosted


class FragmentsMiddleware:
    """Sets `request.htmx`, and `Vary` on every answer that may have another form."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """The response, which varies unless it is of a kind that has one form only."""
        request.htmx = Htmx(request)  # type: ignore[attr-defined]
        response = self.get_response(request)
        content_type = response.get("Content-Type", "")
        if content_type.startswith("text/html") or response.status_code == 304:
            patch_vary_headers(response, VARY)
        return response
