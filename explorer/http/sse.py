"""Server-sent events, for pages and the API: a steering run's pieces as they come."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connection
from django.http import StreamingHttpResponse

from features.queue import notifications
from features.selectors import steering as steering_selectors
from features.selectors.vocabulary import vocabulary_of
from features.steering import runs as steering_runs

HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def response(pk: int, model_id: int, after: int = 0, head: str = "") -> StreamingHttpResponse:
    """The stream of a run, with `head` as its first event."""
    return StreamingHttpResponse(
        _prepend(head, events(pk, model_id, after)),
        content_type="text/event-stream",
        headers=HEADERS,
    )


async def events(pk: int, model_id: int, after: int) -> AsyncIterator[str]:
    """A run's events after that number, until it is over. Whoever reads them keeps it going, and
    lets go by leaving.
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
                    told = (
                        {"state": news.state, "error": news.error}
                        if news
                        else {"state": "gone", "error": None}
                    )
                    yield f"event: over\ndata: {json.dumps(told)}\n\n"
                    return
                yield ": still here\n\n"
    finally:
        if not over:
            await on_own_connection(lambda: steering_runs.unwatch(pk))


async def on_own_connection(read: Callable[[], Any]) -> Any:
    """Ask the database on a connection that is given back at once: a page that is only watched
    holds none.
    """

    def work() -> Any:
        try:
            return read()
        finally:
            connection.close()

    return await sync_to_async(work, thread_sensitive=False)()


async def _prepend(head: str, rest: AsyncIterator[str]) -> AsyncIterator[str]:
    if head:
        yield head
    async with aclosing(rest) as told:  # type: ignore[type-var]  # an async generator
        async for event in told:
            yield event


def _news(pk: int, model_id: int, after: int) -> steering_selectors.News | None:
    """The news, with the bytes of the tokens in them."""
    steering_runs.watch(pk)
    news = steering_selectors.news(pk, after)
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
