"""A message broker of plain files: kombu's filesystem transport, safe for several processes on one
folder.

kombu writes a message into the folder that readers watch, and creates a table of queues before it
locks it. A reader that comes in between finds an empty file, and its worker dies (seen with two
workers that started at once). Here a rename publishes the whole message, and one lock covers each
use of a table.
"""

import fcntl
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, filesystem, virtual

SCHEME = "files"
POLLING_SECONDS = 0.02
LONGEST_WAIT_SECONDS = 0.5

TRANSPORT_ALIASES[SCHEME] = "explorer.local.broker:Transport"


class Channel(filesystem.Channel):
    """Publishes whole messages, and locks the tables of queues."""

    def get_table(self, exchange: str) -> Any:
        """The queues bound to `exchange`."""
        with self._table_lock():
            return super().get_table(exchange)

    def _queue_bind(self, *arguments: Any) -> None:
        with self._table_lock():
            super()._queue_bind(*arguments)

    def _delete(self, *arguments: Any, **options: Any) -> None:
        with self._table_lock():
            super()._delete(*arguments, **options)

    def _put(self, queue: str, payload: Any, **kwargs: Any) -> None:  # type: ignore[override]  # as kombu has it
        """Queue a message. Readers take messages by name, which begins with the time."""
        folder, name = Path(self.data_folder_out), f"{time.time_ns():020}_{uuid.uuid4()}"
        draft = folder / f"{name}.draft"
        draft.write_text(json.dumps(payload))
        draft.rename(folder / f"{name}.{queue}.msg")

    def _get(self, queue: str, timeout: float | None = None) -> Any:
        """Take the oldest message; of several readers, the one whose rename succeeds gets it."""
        for name in sorted(os.listdir(self.data_folder_in)):
            if name.partition(".")[2] != f"{queue}.msg":
                continue
            taken = Path(self.processed_folder) / name
            try:
                (Path(self.data_folder_in) / name).rename(taken)
            except FileNotFoundError:
                continue
            payload = json.loads(taken.read_text())
            taken.unlink()
            return payload
        raise Empty

    @contextmanager
    def _table_lock(self) -> Iterator[None]:
        with (self.control_folder / "lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


class Transport(filesystem.Transport):
    """The transport of `files://`. Queues are declared per folder, not for all folders together."""

    Channel = Channel

    def __init__(self, client: Any, **options: Any) -> None:
        super().__init__(client, **options)
        self.state = virtual.BrokerState()

    def drain_events(  # type: ignore[override]  # as kombu has it
        self, connection: Any, timeout: float | None = None
    ) -> None:
        """Wait for a message, but not long: in between a worker checks for a signal to stop."""
        super().drain_events(connection, timeout=timeout and min(timeout, LONGEST_WAIT_SECONDS))


def celery_settings(folder: Path) -> dict[str, Any]:
    """Celery's settings for a broker in `folder`, which is created."""
    folders = {
        "data_folder_in": folder / "messages",
        "data_folder_out": folder / "messages",
        "processed_folder": folder / "processed",
        "control_folder": folder / "control",
    }
    for path in folders.values():
        path.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {name: str(path) for name, path in folders.items()}
    return {
        "broker_url": f"{SCHEME}://localhost",
        "broker_transport_options": options | {"polling_interval": POLLING_SECONDS},
    }


def clear(folder: Path) -> None:
    """Delete all messages and queues, with what a crash left unfinished; messages of queued jobs
    are sent again.
    """
    shutil.rmtree(folder, ignore_errors=True)
    celery_settings(folder)
