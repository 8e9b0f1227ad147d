"""Notifications of changed rows, through LISTEN and NOTIFY of PostgreSQL.

`wait_for` listens on the connection of its thread. `watch` is for pages: one LISTEN connection
serves all pages of a process.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TypeVar

import psycopg
from django.db import connection

QUIET_SECONDS = 10.0
"""`watch` yields after this time without a notification: one may be lost with a connection."""
LOOK_SECONDS = 2.0
"""The same for `wait_for`."""

T = TypeVar("T")


class Channel(StrEnum):
    """What changed; the payload of a notification is the key of the row."""

    JOB = "featurescope_job"
    STEERING = "featurescope_steering"
    INFERENCE = "featurescope_inference"


_waiters: dict[tuple[str, str], set[asyncio.Event]] = defaultdict(set)
_listener: asyncio.Task[None] | None = None


def notify(channel: Channel, key: int | str) -> None:
    """Notify the watchers of the row when the transaction commits."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [channel, str(key)])


def wait_for(
    channel: Channel, key: int | str, load: Callable[[], T | None], seconds: float
) -> T | None:
    """The first result of `load` that is not None; None after `seconds`.

    `load` is called at the start, after each notification of the row, and every `LOOK_SECONDS`.
    Listening starts before the first call, so that no change is missed. Raises
    `django.db.OperationalError` where the database restarts.
    """
    deadline = time.monotonic() + seconds
    with _listening(channel):
        while (loaded := load()) is None:
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            _next_notification(str(key), min(left, LOOK_SECONDS))
        return loaded


async def watch(channel: Channel, key: int | str) -> AsyncGenerator[None, None]:
    """Yield once at the start, then after every change of the row, for ever. Changes in quick
    succession count as one.
    """
    _start_listener()
    changed, waiter = asyncio.Event(), (str(channel), str(key))
    _waiters[waiter].add(changed)
    try:
        yield
        while True:
            try:
                await asyncio.wait_for(changed.wait(), QUIET_SECONDS)
            except TimeoutError:
                pass
            changed.clear()
            yield
    finally:
        _waiters[waiter].discard(changed)
        if not _waiters[waiter]:
            del _waiters[waiter]


@contextmanager
def _listening(channel: Channel) -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute(f"LISTEN {channel}")
    try:
        yield
    finally:
        if connection.connection and not connection.connection.closed:
            with connection.cursor() as cursor:
                cursor.execute(f"UNLISTEN {channel}")


def _next_notification(key: str, seconds: float) -> None:
    """Return at a notification of this key, or after `seconds`."""
    with connection.wrap_database_errors:
        for notification in connection.connection.notifies(timeout=seconds):
            if notification.payload == key:
                return


def _start_listener() -> None:
    """One task listens for all watchers of the event loop."""
    global _listener
    loop = asyncio.get_running_loop()
    if _listener is None or _listener.done() or _listener.get_loop() is not loop:
        _listener = asyncio.create_task(_listen())


async def _listen() -> None:
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(
                _conninfo(), autocommit=True
            ) as listening:
                for channel in Channel:
                    await listening.execute(f"LISTEN {channel}")
                async for notification in listening.notifies():
                    for waiter in _waiters.get((notification.channel, notification.payload), ()):
                        waiter.set()
        except psycopg.OperationalError:
            # the database restarted: watchers poll meanwhile, see QUIET_SECONDS
            await asyncio.sleep(1)


def _conninfo() -> str:
    params = connection.get_connection_params()
    names = ("host", "port", "dbname", "user", "password", "sslmode")
    return psycopg.conninfo.make_conninfo(**{key: params[key] for key in names if params.get(key)})
