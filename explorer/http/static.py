"""Static files from the folders of the apps: no collectstatic, in production or in tests.

The URL of a file has the hash of its content as `?v=`. Browsers store what they get by such a URL
for a year, and anything else for a minute.
"""

import gzip
import hashlib
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import StaticFilesStorage
from django.http import HttpRequest, HttpResponse
from whitenoise.middleware import WhiteNoiseMiddleware

TEXT = ("text/", "application/javascript", "image/svg")


IMMUTABLE = "public, max-age=31536000, immutable"


class StaticUrls(StaticFilesStorage):
    """URLs with the hash of the content. Cached, because a page has nine."""

    @cache  # noqa: B019  # the one storage lives as long as the process
    def url(self, name: str | None) -> str:
        """The URL of a file, without a hash if there is no such file."""
        url = super().url(name)
        path = finders.find(name or "")
        return f"{url}?v={content_hash(Path(path).read_bytes())}" if path else url


@lru_cache(maxsize=128)
def content_hash(content: bytes) -> str:
    """The hash in the URL of a file."""
    return hashlib.sha256(content).hexdigest()[:12]


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
        version = request.GET.get("v")
        if content and version and version == content_hash(content):
            headers["Cache-Control"] = IMMUTABLE
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
