"""PostgreSQL with pgvector inside the data folder, for a machine that has only Python.

A process that uses the server holds a shared lock on `postgres.users` until it ends. One keeper
process (`explorer.local.keeper`) runs the server, waits for the exclusive lock on that file, and
then stops the server. The kernel releases the locks of a process that ends, also after `kill -9`,
so no process has to count the others.
"""

import fcntl
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any

DATABASE, USER, PORT = "featurescope", "postgres", 5432
LONGEST_SOCKET_PATH = 107
"""Bytes, without the closing zero (108 in Linux's sockaddr_un; macOS has 104)."""

_user_locks: dict[Path, IO[bytes]] = {}


class DatabaseFailed(Exception):
    """The server could not be started; the message is one sentence for the terminal."""


def data_folder(var: Path) -> Path:
    return var / "postgres"


def socket_folder(var: Path) -> Path:
    """The folder of the server's Unix socket: the data folder, or one below /tmp if that path is
    too long for a socket.
    """
    folder = data_folder(var).absolute()
    longest = LONGEST_SOCKET_PATH if sys.platform == "linux" else 103
    # A comma separates hosts in a connection string, and an "@" there begins an abstract socket's
    # name.
    if len(os.fsencode(folder / f".s.PGSQL.{PORT}")) <= longest and not set(",@") & set(
        str(folder)
    ):
        return folder
    return (
        Path("/tmp")
        / f"featurescope-{os.getuid()}-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:10]}"
    )


def database(var: Path) -> dict[str, Any]:
    """Django's settings for the server; `ensure` starts it."""
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": DATABASE,
        "USER": USER,
        "PASSWORD": "",
        "HOST": str(socket_folder(var)),
        "PORT": str(PORT),
    }


def ensure(var: Path) -> None:
    """Run the server until this process ends or calls `release`. Raises `DatabaseFailed`."""
    if var in _user_locks:
        return
    try:
        var.mkdir(parents=True, exist_ok=True)
        users = (var / "postgres.users").open("ab")
        fcntl.flock(users, fcntl.LOCK_SH)  # waits here while a keeper stops the server
        revive(var)
    except OSError as error:
        raise DatabaseFailed(f"cannot start the database in {var}: {error.strerror}.") from error
    _user_locks[var] = users


def revive(var: Path) -> bool:
    """Start the keeper if none runs; True if it was started. The caller holds the users' lock.
    Raises `DatabaseFailed`.
    """
    with (var / "postgres.start").open("ab") as start:
        # First, as trying the keeper's lock would get in the way of a keeper that starts.
        fcntl.flock(start, fcntl.LOCK_EX)
        if _locked(var / "postgres.keeper"):
            return False
        _start_keeper(var)
        return True


def release(var: Path, wait: float = 10.0) -> bool:
    """Stop using the server; True if it stopped within `wait` seconds, False if another process
    uses it.
    """
    _user_locks.pop(var).close()
    end = time.monotonic() + wait
    while _locked(var / "postgres.keeper"):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def _start_keeper(var: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "explorer.local.keeper", str(var)]
    root = Path(__file__).resolve().parents[2]
    (var / "logs").mkdir(exist_ok=True)
    # Its errors go to a file: it may outlive this process, and would keep its error stream open.
    with (var / "logs" / "postgres.log").open("a") as log:
        keeper = subprocess.Popen(
            command,
            cwd=root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    assert keeper.stdout is not None
    message = ""
    for line in keeper.stdout:
        if line == "ready\n":
            keeper.stdout.close()
            keeper.returncode = 0  # it outlives this process on purpose: no warning about a child
            return
        message = line.strip()
        if message.startswith("note: "):
            print(message, file=sys.stderr)
    keeper.wait()
    raise DatabaseFailed(
        message
        or f"the database's keeper ended at once ({keeper.returncode}); see "
        f"{var}/logs/postgres.log."
    )


def _locked(path: Path) -> bool:
    """Whether another process holds the lock on `path`."""
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
