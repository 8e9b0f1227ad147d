"""Writing while the next is being computed."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from django.db import connection

R = TypeVar("R")
T = TypeVar("T")


def in_background(write: Callable[[R], T], records: Iterable[R], waiting: int = 1) -> Generator[T]:
    """Yield `write(record)` for each record in order; one thread, with a connection of its own,
    writes while others are made.

    At most `waiting` records wait for the thread. Each should be a transaction: what `write` raises
    is raised here, and then, or where the caller closes this generator, nothing that waits is
    written, and what is being written is written whole.
    """
    broken = threading.Event()

    def step(record: R) -> T:
        if broken.is_set():
            raise RuntimeError("what comes after a record that could not be written is not written")
        try:
            return write(record)
        except BaseException:
            broken.set()
            raise

    pending: deque[Future[T]] = deque()
    thread = ThreadPoolExecutor(1, "writer")
    try:
        for record in records:
            pending.append(thread.submit(step, record))
            while len(pending) > waiting:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()
        thread.submit(lambda: connection.close())
        thread.shutdown()
