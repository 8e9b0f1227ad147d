"""The process that runs the embedded PostgreSQL while a process uses it: `python -m
explorer.local.keeper VAR`.

It prints `ready`, or one sentence with the error. It has to start fast: no Django here.
"""

import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NoReturn

from explorer.local.host import ServerFailed
from explorer.local.postgres import Server


def keep(var: Path) -> None:
    """Run the server until no process holds `postgres.users`; restart it if it dies."""
    with (var / "postgres.users").open("ab") as users, _exclusive_lock(var / "postgres.keeper"):
        server = Server(var)
        try:
            server.start()
            _print("ready")
            while not _lock(users):
                time.sleep(0.1)
                if not server.alive():
                    time.sleep(1)
                    server.start()
        finally:
            server.stop()
    # The keeper's lock is released before the users': a process that waits for the latter then
    # finds no keeper, and starts one.


@contextmanager
def _exclusive_lock(path: Path) -> Iterator[None]:
    with path.open("ab") as file:
        if not _lock(file):
            raise ServerFailed(f"another keeper holds {path}.")
        yield


def _lock(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _print(line: str) -> None:
    try:
        print(line, flush=True)
    except BrokenPipeError:  # the process that started it is gone
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115


def _exit(*_: object) -> NoReturn:
    raise SystemExit(0)


def main() -> None:
    signal.signal(signal.SIGTERM, _exit)
    os.umask(0o022)
    try:
        keep(Path(sys.argv[1]))
    except ServerFailed as error:
        _print(str(error))
        sys.exit(1)
    except OSError as error:
        _print(f"cannot start the database: {error.strerror} ({error.filename}).")
        sys.exit(1)


if __name__ == "__main__":
    main()
