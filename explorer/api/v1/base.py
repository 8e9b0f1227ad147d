"""What views of the API share."""

import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeVar

from django.core.exceptions import ObjectDoesNotExist
from django.http import HttpRequest, HttpResponsePermanentRedirect
from django.http.response import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import NotFound
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.views import APIView

from explorer.api.v1.permissions import MayWrite
from features.slugs import is_slug

T = TypeVar("T")


@extend_schema(exclude=True)
class UnknownPath(APIView):
    """Every path under `/api/` that is no address."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Add a closing slash that is missing, but only for reads: a redirected POST arrives as a
        GET.
        """
        if request.method in {"GET", "HEAD"} and not request.path.endswith("/"):
            return HttpResponsePermanentRedirect(request.get_full_path(force_append_slash=True))
        return super().dispatch(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> NoReturn:
        """Say so, whatever the method."""
        super().initial(request, *args, **kwargs)
        raise NotFound(
            "There is no such address. They are listed at /api/docs/ and end with a slash."
        )


class MembersWriteView(APIView):
    """A view that everyone reads and members write."""

    def get_permissions(self) -> Sequence[Any]:
        """By method."""
        return super().get_permissions() if self.request.method in SAFE_METHODS else [MayWrite()]


def get_or_404(read: Callable[..., T], *names: str | int, noun: str) -> T:
    """What `read(*names)` reads. Raises `NotFound` where there is none, and for names that no row
    can have.
    """
    try:
        if all(isinstance(name, int) or re.match(is_slug.regex, name) for name in names):
            return read(*names)
    except ObjectDoesNotExist:
        pass
    raise NotFound(f"There is no {noun} “{'/'.join(str(name)[:100] for name in names)}”.")
