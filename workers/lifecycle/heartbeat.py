"""Renewing the lease of a row from a thread of its own, while a worker computes."""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from django.db import Error, close_old_connections, connection

from features.queue.claims import LostLease

log = logging.getLogger(__name__)


class Heartbeat(threading.Thread):
    """Calls `renew` every `interval` seconds until the block ends; `renew` returns why the work
    should stop, or "".

    A heartbeat means that the work advances, not only that the process exists: after
    `silence_limit` seconds without a call of `sign_of_life` the process exits, and the lease
    expires.
    """

    def __init__(
        self,
        name: str,
        renew: Callable[[], str],
        interval: float,
        silence_limit: float | None = None,
        on_silence: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(daemon=True, name=f"heartbeat of {name}")
        self.stop_reason, self.lost = "", False
        self._of, self._renew, self._interval = name, renew, interval
        self._silence_limit, self._on_silence = silence_limit, on_silence
        self._last_sign = time.monotonic()
        self._ended = threading.Event()

    @property
    def should_stop(self) -> bool:
        """Whether a user asked the work to stop, or another worker holds the lease."""
        return self.lost or bool(self.stop_reason)

    def sign_of_life(self) -> None:
        """Report that the work advances."""
        self._last_sign = time.monotonic()

    def run(self) -> None:
        """Renew the lease until the block ends."""
        while not self._ended.wait(self._interval):
            if self._silence_limit and time.monotonic() - self._last_sign > self._silence_limit:
                self._end_process()
            try:
                self.stop_reason = self._renew() or self.stop_reason
            except LostLease:
                self.lost = True
            except Error as error:  # the database restarts; the lease outlives a short restart
                log.warning("heartbeat of %s: %s", self._of, error)
                close_old_connections()
        connection.close()

    def _end_process(self) -> None:
        with contextlib.suppress(Error):
            self._on_silence()
        log.error("%s makes no progress: this worker exits", self._of)
        os._exit(1)  # code that hangs cannot be asked to end

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self.join()
