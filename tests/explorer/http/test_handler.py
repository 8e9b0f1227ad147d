"""What the web server runs: a request is handed to a thread once; streams are served, and hold no
connection.
"""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from asgiref.sync import SyncToAsync
from asgiref.testing import ApplicationCommunicator
from django.db import connections
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path

from explorer.http.handler import Handler
from features.models import Job


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(Job.objects.count()))


async def streamed(request: HttpRequest) -> StreamingHttpResponse:
    async def pieces() -> AsyncIterator[str]:
        yield "one "
        yield "two"

    return StreamingHttpResponse(pieces())


def asked_first(request: HttpRequest) -> StreamingHttpResponse:
    Job.objects.count()
    own = connections["default"]  # of this thread

    async def pieces() -> AsyncIterator[str]:
        yield "gone" if own.connection is None else "held"

    return StreamingHttpResponse(pieces())


urlpatterns = [path("page/", page), path("streamed/", streamed), path("asked/", asked_first)]


@pytest.fixture
def handler(settings: Any) -> Handler:
    settings.ROOT_URLCONF = __name__
    return Handler()


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was handed to a thread."""
    seen, real = list[str](), SyncToAsync.__call__

    async def noted(self: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(getattr(self.func, "__qualname__", ""))
        return await real(self, *args, **kwargs)

    monkeypatch.setattr(SyncToAsync, "__call__", noted)
    return seen


async def ask(handler: Handler, address: str) -> tuple[int, bytes]:
    scope = {"type": "http", "method": "GET", "path": address, "query_string": b""}
    asked = ApplicationCommunicator(handler, scope | {"headers": [(b"host", b"localhost")]})
    await asked.send_input({"type": "http.request"})
    start, body = await asked.receive_output(5), b""
    while (part := await asked.receive_output(5)).get("more_body"):
        body += part["body"]
    await asked.wait(5)
    return start["status"], body + part.get("body", b"")


@pytest.mark.django_db(transaction=True)
async def test_a_page_is_handed_to_its_thread_once(handler: Handler, handed: list[str]) -> None:
    assert await ask(handler, "/page/") == (200, b"0")
    assert [name for name in handed if "answer" in name] == [
        "Handler.get_response_async.<locals>.answer"
    ]
    assert len(handed) <= 3, "beside it the beginning and the end of the request"


async def test_an_asynchronous_view_streams(handler: Handler) -> None:
    assert await ask(handler, "/streamed/") == (200, b"one two")


@pytest.mark.django_db(transaction=True)
async def test_a_stream_holds_no_connection(handler: Handler) -> None:
    assert await ask(handler, "/asked/") == (200, b"gone")
