"""A whole Featurescope as a person runs it: `manage.py up` in a folder of its own, real processes,
a real broker.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import psutil
import psycopg
from psycopg.rows import dict_row

from explorer.local import database as local_database
from explorer.local.processes import die_with_parent

ROOT = Path(__file__).resolve().parents[2]
T = TypeVar("T")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(question: Callable[[], T], seconds: float, what: str) -> T:
    """The first truthy answer, asked ten times a second."""
    end = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.1)
    return answer


class Instance:
    """One instance; stop it with `stop`. It ends with this process too, however that ends.

    Its folder is not below pytest's own temporary one: a second pytest closes that to other users,
    and where we are root PostgreSQL runs as one.
    """

    def __init__(self, **environment: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="featurescope-e2e-"))
        self.folder.chmod(0o711)
        self.var, self.output, self.port = self.folder / "var", self.folder / "output", free_port()
        self.environment = os.environ | {
            "FEATURESCOPE_VAR": str(self.var),
            "PORT": str(self.port),
            **environment,
        }
        self.start()
        password = r"with the password (\S+)"
        banner = wait_for(lambda: re.search(password, self.output.read_text()), 10, "a password")
        self.password = banner[1]
        """The one-time password of `admin`, which the first start prints."""

    def start(self) -> None:
        """Start it, the first time or again after `stop(keep=True)`; returns when it is up."""
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "up"],
            cwd=ROOT,
            env=self.environment,
            stdout=self.output.open("wb"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent(signal.SIGTERM),
        )
        wait_for(self._up, 240, "the banner")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def manage(self, *arguments: str, timeout: float = 120) -> str:
        """Run a command beside the instance; its output, whatever its exit code."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=timeout,
        )  # fmt: skip
        return done.stdout + done.stderr

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Ask the instance's database."""
        at = local_database.database(self.var)
        with psycopg.connect(
            host=at["HOST"],
            port=at["PORT"],
            dbname=at["NAME"],
            user=at["USER"],
            row_factory=dict_row,
        ) as connection:
            return connection.execute(query, values).fetchall()

    def job(self, pk: int) -> dict[str, Any]:
        return self.rows("SELECT * FROM features_job WHERE id = %s", pk)[0]

    def processes(self, word: str = "") -> list[psutil.Process]:
        """Every process that works on this instance's folder, by its environment or arguments;
        `word` is in its command.
        """
        found = []
        for process in psutil.process_iter():
            try:
                command = " ".join(process.cmdline())
                mine = (
                    process.environ().get("FEATURESCOPE_VAR") == str(self.var)
                    or str(self.var) in command
                )
                living = process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE
                if mine and living and word in command:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def stop(self, keep: bool = False) -> None:
        """Press Ctrl-C and wait for the end; the folder goes unless it is to be kept."""
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _up(self) -> bool:
        assert self.process.poll() is None, self.output.read_text()
        return "is at http" in self.output.read_text()
