"""What the web server runs: a request stays in one thread, an asynchronous view and a stream are served all the same."""

import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path

from explorer.handler import Handler

seen: list[int] = []


class Noted:
    """Middleware that notes its thread, on the way in and out."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        seen.append(threading.get_ident())
        response = self.get_response(request)
        seen.append(threading.get_ident())
        return response


def noted(request: HttpRequest) -> HttpResponse:
    seen.append(threading.get_ident())
    return HttpResponse("noted")


async def streamed(request: HttpRequest) -> StreamingHttpResponse:
    async def pieces() -> AsyncIterator[str]:
        yield "one "
        seen.append(threading.get_ident())
        yield "two"

    return StreamingHttpResponse(pieces())


urlpatterns = [path("noted/", noted), path("streamed/", streamed)]


@pytest.fixture
def handler(settings: Any) -> Handler:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = [f"{__name__}.Noted", *settings.MIDDLEWARE, f"{__name__}.Noted"]
    seen.clear()
    return Handler()


async def ask(handler: Handler, address: str) -> tuple[int, bytes]:
    scope = {"type": "http", "method": "GET", "path": address, "query_string": b""}
    asked = ApplicationCommunicator(handler, scope | {"headers": [(b"host", b"localhost")]})
    await asked.send_input({"type": "http.request"})
    start, body = await asked.receive_output(5), b""
    while (part := await asked.receive_output(5)).get("more_body"):
        body += part["body"]
    await asked.wait(5)
    return start["status"], body + part.get("body", b"")


async def test_a_page_and_all_middleware_run_in_one_thread_of_their_own(handler: Handler) -> None:
    assert await ask(handler, "/noted/") == (200, b"noted")
    assert len(seen) == 5
    assert len(set(seen)) == 1
    assert seen[0] != threading.get_ident()


async def test_a_stream_goes_on_where_no_thread_waits_for_it(handler: Handler) -> None:
    assert await ask(handler, "/streamed/") == (200, b"one two")
    *middleware, stream = seen
    assert len(middleware) == 4
    assert stream == threading.get_ident()
    assert stream not in middleware
