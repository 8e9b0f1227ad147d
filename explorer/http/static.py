"""Static files straight from the apps' folders: no collectstatic, under ASGI and in tests alike."""

import gzip
from functools import cache, lru_cache
from typing import Any

from django.contrib.staticfiles.storage import StaticFilesStorage
from django.http import HttpRequest, HttpResponse
from whitenoise.middleware import WhiteNoiseMiddleware

TEXT = ("text/", "application/javascript", "image/svg")


class StaticUrls(StaticFilesStorage):
    """Addresses of static files, put together once: a page names nine."""

    url = cache(StaticFilesStorage.url)


class StaticFilesMiddleware(WhiteNoiseMiddleware):  # type: ignore[misc]  # whitenoise has no types
    """WhiteNoise that reads a file whole: ours are small, and Django warns of each that is streamed
    by a synchronous iterator.
    """

    @staticmethod
    def serve(static_file: Any, request: HttpRequest) -> HttpResponse:
        """The file as one piece, with WhiteNoise's status and headers (304, ranges), smaller for
        whoever takes gzip.
        """
        answer = static_file.get_response(request.method, request.META)
        headers = dict(answer.headers)
        content = b""
        if answer.file is not None:
            with answer.file as file:
                content = file.read()
        text = headers.get("Content-Type", "").startswith(TEXT)
        if text:
            headers["Vary"] = "Accept-Encoding"
        if (
            text
            and int(answer.status) == 200
            and content
            and "gzip" in request.headers.get("Accept-Encoding", "")
        ):
            content = _smaller(content)
            headers |= {"Content-Encoding": "gzip", "Content-Length": str(len(content))}
        return HttpResponse(content, status=int(answer.status), headers=headers)


@lru_cache(maxsize=128)
def _smaller(content: bytes) -> bytes:
    """What there is no build step to compress once and for all; files hold no secrets that lengths
    could tell.
    """
    return gzip.compress(content, mtime=0)
