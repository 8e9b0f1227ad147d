"""Static files from the folders of the apps: no collectstatic, in production or in tests."""

import gzip
from functools import cache, lru_cache
from typing import Any

from django.contrib.staticfiles.storage import StaticFilesStorage
from django.http import HttpRequest, HttpResponse
from whitenoise.middleware import WhiteNoiseMiddleware

TEXT = ("text/", "application/javascript", "image/svg")


class StaticUrls(StaticFilesStorage):
    """Caches the URLs of static files: a page has nine."""

    url = cache(StaticFilesStorage.url)


class StaticFilesMiddleware(WhiteNoiseMiddleware):  # type: ignore[misc]  # whitenoise has no types
    """WhiteNoise without streaming: the files are small, and Django warns of each one that a
    synchronous iterator streams under ASGI.
    """

    @staticmethod
    def serve(static_file: Any, request: HttpRequest) -> HttpResponse:
        """The whole file with WhiteNoise's status and headers (304, ranges), compressed if the
        client accepts gzip.
        """
        streamed = static_file.get_response(request.method, request.META)
        headers = dict(streamed.headers)
        content = b""
        if streamed.file is not None:
            with streamed.file as file:
                content = file.read()
        text = headers.get("Content-Type", "").startswith(TEXT)
        if text:
            headers["Vary"] = "Accept-Encoding"
        if (
            text
            and int(streamed.status) == 200
            and content
            and "gzip" in request.headers.get("Accept-Encoding", "")
        ):
            content = _gzipped(content)
            headers |= {"Content-Encoding": "gzip", "Content-Length": str(len(content))}
        return HttpResponse(content, status=int(streamed.status), headers=headers)


@lru_cache(maxsize=128)
def _gzipped(content: bytes) -> bytes:
    """Compressed once per process, as there is no build step. The files hold no secrets that the
    compressed size could reveal.
    """
    return gzip.compress(content, mtime=0)
