"""Who watches a job or a steering run is woken by PostgreSQL: one LISTEN connection per process,
however many pages are open.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator

import psycopg
from django.db import connection

from features.jobs import events as job_events
from features.steering import runs as steering_runs

QUIET_SECONDS = 10.0
"""Without a notice for this long the watcher is woken all the same: a notice lost with a connection
costs no more.
"""

CHANNELS = (job_events.CHANNEL, steering_runs.CHANNEL)

_waiters: dict[tuple[str, str], set[asyncio.Event]] = defaultdict(set)
_listener: asyncio.Task[None] | None = None


async def watch(pk: int, channel: str = job_events.CHANNEL) -> AsyncGenerator[None, None]:
    """Yield once at the start, then after every change of that row (several at once count as one),
    for ever.
    """
    global _listener
    if (
        _listener is None
        or _listener.done()
        or _listener.get_loop() is not asyncio.get_running_loop()
    ):
        _listener = asyncio.create_task(_listen())
    changed, key = asyncio.Event(), (channel, str(pk))
    _waiters[key].add(changed)
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
        _waiters[key].discard(changed)
        if not _waiters[key]:
            del _waiters[key]


async def _listen() -> None:
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(
                _address(), autocommit=True
            ) as listening:
                for channel in CHANNELS:
                    await listening.execute(f"LISTEN {channel}")
                async for notice in listening.notifies():
                    for waiter in _waiters.get((notice.channel, notice.payload), ()):
                        waiter.set()
        except (
            psycopg.OperationalError
        ):  # the database restarted: watchers poll meanwhile, see QUIET_SECONDS
            await asyncio.sleep(1)


def _address() -> str:
    params = connection.get_connection_params()
    wanted = ("host", "port", "dbname", "user", "password", "sslmode")
    return psycopg.conninfo.make_conninfo(**{key: params[key] for key in wanted if params.get(key)})
