"""Server-sent events, for pages and the API: a steering run's pieces as they come."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import TypeVar

from asgiref.sync import sync_to_async
from django.db import connection
from django.http import StreamingHttpResponse

from features.queue import notifications
from features.steering import run_views
from features.steering import runs as steering_runs
from features.vocabulary import vocabulary_of

T = TypeVar("T")
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def event_stream(events: AsyncIterator[str]) -> StreamingHttpResponse:
    """The response that streams events to one client; proxies neither store nor buffer it."""
    return StreamingHttpResponse(events, content_type="text/event-stream", headers=HEADERS)


def steering_stream(
    pk: int, model_id: int, after: int = 0, head: str = ""
) -> StreamingHttpResponse:
    """The stream of a steering run after piece `after`, with `head` as its first event."""
    return event_stream(_prepend(head, steering_events(pk, model_id, after)))


async def steering_events(pk: int, model_id: int, after: int) -> AsyncIterator[str]:
    """A run's events after piece `after`, until it is over. A run goes on while a client reads its
    events, and stops when the last one leaves.
    """
    over = False
    try:
        async with aclosing(notifications.watch(notifications.Channel.STEERING, pk)) as wakes:
            async for _ in wakes:
                news = await on_own_connection(lambda: _news(pk, model_id, after))  # noqa: B023  # awaited at once
                for number, pieces in news.deltas if news else ():
                    after = number
                    yield (
                        f"id: {number}\nevent: delta\ndata: "
                        f"{json.dumps(pieces, separators=(',', ':'))}\n\n"
                    )
                if news is None or news.over:
                    over = True
                    result = (
                        {"state": news.state, "error": news.error}
                        if news
                        else {"state": "gone", "error": None}
                    )
                    yield f"event: over\ndata: {json.dumps(result)}\n\n"
                    return
                yield ": still here\n\n"
    finally:
        if not over:
            await on_own_connection(lambda: steering_runs.unwatch(pk))


async def on_own_connection(query: Callable[[], T]) -> T:
    """The result of `query`, on a connection that is closed at once: a stream that waits holds
    none.
    """

    def query_and_close() -> T:
        try:
            return query()
        finally:
            connection.close()

    return await sync_to_async(query_and_close, thread_sensitive=False)()


async def _prepend(head: str, rest: AsyncIterator[str]) -> AsyncIterator[str]:
    if head:
        yield head
    async with aclosing(rest) as events:  # type: ignore[type-var]  # an async generator
        async for event in events:
            yield event


def _news(pk: int, model_id: int, after: int) -> run_views.News | None:
    """The new pieces of a run, with the bytes of their tokens."""
    steering_runs.watch(pk)
    news = run_views.news(pk, after)
    if news is None:
        return None
    steps = [piece for _, pieces in news.deltas for piece in pieces if "ids" in piece]
    vocabulary = vocabulary_of(
        model_id, {i for piece in steps for i in piece["ids"] if i is not None}
    )
    for piece in steps:
        piece["bytes"] = [
            None if i is None else vocabulary[i][0].hex() if i in vocabulary else ""
            for i in piece["ids"]
        ]
    return news
