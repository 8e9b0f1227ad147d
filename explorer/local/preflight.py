"""Checks before the processes start. Each failure is one sentence with its remedy."""

import fcntl
import os
import shutil
import socket
from pathlib import Path
from typing import IO

LEAST_FREE_BYTES = 1 << 30


class NotReady(Exception):
    """Why nothing was started; shown in the terminal."""


def var_is_writable(var: Path) -> None:
    """Create the data folder. Raises `NotReady` if it cannot be written to."""
    try:
        var.mkdir(parents=True, exist_ok=True)
        probe = var / f".probe-{os.getpid()}"
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        raise NotReady(
            f"Cannot write to {var} ({error.strerror}): set FEATURESCOPE_VAR to a writable folder."
        ) from error


def disk_has_room(var: Path, least: int = LEAST_FREE_BYTES) -> None:
    """Raise `NotReady` for a disk that is nearly full: a database that runs out of space in the
    middle of its work is worse than none.
    """
    free = shutil.disk_usage(var).free
    if free < least:
        raise NotReady(
            f"Only {free / 2**20:,.0f} MiB are free for {var}, and {least / 2**20:,.0f} MiB are "
            "needed: "
            "free some space or set FEATURESCOPE_VAR to a folder on another disk."
        )


def port_is_free(host: str, port: int) -> None:
    """Raise `NotReady` if the server could not listen there."""
    try:
        family, kind, _protocol, _name, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except socket.gaierror as error:
        raise NotReady(
            f"FEATURESCOPE_HOST={host} is no address of this machine: {error.strerror}."
        ) from error
    except PermissionError as error:
        raise NotReady(
            f"Port {port} needs root: choose one above 1023, as in PORT=8000."
        ) from error
    except OSError as error:
        other = port + 1 if port < 65535 else 8000
        raise NotReady(
            f"Port {port} on {host} is in use: stop what listens there, or choose another, as in "
            f"PORT={other}."
        ) from error


def only_one(var: Path) -> IO[str]:
    """Lock the data folder for this process, as long as the returned file is open."""
    file = (var / "up.lock").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        pid = file.read().strip()
        file.close()
        raise NotReady(
            f"Featurescope already runs on {var} (process {pid}): stop it, or set "
            "FEATURESCOPE_VAR to another folder."
        ) from error
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file
