"""Shared parts of the API's views."""

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
    """Every path under `/api/` that no other view serves."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Redirect to the path with a closing slash, but only reads: a redirected POST becomes a
        GET.
        """
        if request.method in {"GET", "HEAD"} and not request.path.endswith("/"):
            return HttpResponsePermanentRedirect(request.get_full_path(force_append_slash=True))
        return super().dispatch(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> NoReturn:
        """A 404 for every method."""
        super().initial(request, *args, **kwargs)
        raise NotFound("There is no such URL. All are listed at /api/docs/ and end with a slash.")


class MembersWriteView(APIView):
    """A view that everyone may read and members may write."""

    def get_permissions(self) -> Sequence[Any]:
        """Members only, except for safe methods."""
        return super().get_permissions() if self.request.method in SAFE_METHODS else [MayWrite()]


def get_or_404(load: Callable[..., T], *names: str | int, noun: str) -> T:
    """The row `load(*names)`. Raises `NotFound` if there is none, or if a name cannot be a slug."""
    try:
        if all(isinstance(name, int) or re.match(is_slug.regex, name) for name in names):
            return load(*names)
    except ObjectDoesNotExist:
        pass
    raise NotFound(f"There is no {noun} “{'/'.join(str(name)[:100] for name in names)}”.")
