"""Static files straight from the apps' folders: no collectstatic, under ASGI and in tests alike."""

import gzip
from functools import lru_cache
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from whitenoise.middleware import WhiteNoiseMiddleware

TEXT = ("text/", "application/javascript", "image/svg")


class StaticFilesMiddleware(WhiteNoiseMiddleware):  # type: ignore[misc]  # whitenoise has no types
    """WhiteNoise that lets asynchronous requests pass as they are.

    WhiteNoise 6 is synchronous: it would move every request to a thread, and Django warns of each file that it streams
    by a synchronous iterator. Our files are small, so they are read whole.
    """

    sync_capable = async_capable = True

    def __init__(self, get_response: Any) -> None:
        super().__init__(get_response)
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        """Answer with the file at this path, else pass the request on."""
        return self._answer(request) if iscoroutinefunction(self) else super().__call__(request)

    async def _answer(self, request: HttpRequest) -> HttpResponseBase:
        path = request.path_info
        found = self.find_file(path) if self.autorefresh else self.files.get(path)
        if found is None:
            response: HttpResponseBase = await self.get_response(request)
            return response
        return await sync_to_async(self.serve, thread_sensitive=False)(found, request)

    @staticmethod
    def serve(static_file: Any, request: HttpRequest) -> HttpResponse:
        """The file as one piece, with WhiteNoise's status and headers (304, ranges), smaller for whoever takes gzip."""
        answer = static_file.get_response(request.method, request.META)
        headers = dict(answer.headers)
        content = b""
        if answer.file is not None:
            with answer.file as file:
                content = file.read()
        text = headers.get("Content-Type", "").startswith(TEXT)
        if text:
            headers["Vary"] = "Accept-Encoding"
        if text and int(answer.status) == 200 and content and "gzip" in request.headers.get("Accept-Encoding", ""):
            content = _smaller(content)
            headers |= {"Content-Encoding": "gzip", "Content-Length": str(len(content))}
        return HttpResponse(content, status=int(answer.status), headers=headers)


@lru_cache(maxsize=128)
def _smaller(content: bytes) -> bytes:
    """What there is no build step to compress once and for all; files hold no secrets that lengths could tell."""
    return gzip.compress(content, mtime=0)
