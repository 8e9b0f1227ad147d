"""The processes of one machine: started together, restarted when one dies, and stopped together."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from explorer.local.processes import die_with_parent

GRACE_SECONDS = 8.0
LONGEST_PAUSE = 30.0
HEALTHY_AFTER = 60.0
"""A child that ran this long is restarted without a pause."""


class Child:
    """One process with its log file, its priority (`nice`), and how often in a row it died."""

    def __init__(
        self, name: str, command: list[str], folder: Path, logs: Path, nice: int = 0
    ) -> None:
        self.name, self.command, self.folder, self.nice = name, command, folder, nice
        self.log = logs / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.deaths = 0
        self.started = self.again_at = 0.0

    def rotate_log(self) -> None:
        """Rename the log of the previous run."""
        if self.log.exists():
            self.log.replace(self.log.with_name(f"{self.log.name}.1"))

    def start(self) -> None:
        """Start it in a process group of its own, so that Ctrl-C reaches only the supervisor."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
                process_group=0,
                preexec_fn=die_with_parent(signal.SIGKILL),
            )
        if self.nice:
            with suppress(ProcessLookupError):
                os.setpriority(
                    os.PRIO_PROCESS,
                    self.process.pid,
                    os.getpriority(os.PRIO_PROCESS, 0) + self.nice,
                )
        self.started = time.monotonic()

    def ended(self) -> int | None:
        """Its return code, or None while it runs."""
        return self.process.poll() if self.process else None

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def lived(self) -> float:
        """Seconds since the last start."""
        return time.monotonic() - self.started

    def signal(self, sign: signal.Signals) -> None:
        """Send a signal to its whole group."""
        if self.process and self.alive():
            os.killpg(self.process.pid, sign)

    def last_lines(self, count: int = 5) -> str:
        """The end of its log, indented."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(f"    {line}" for line in lines[-count:])


class Supervisor:
    """Keeps children running. `say` gets a line when one dies."""

    def __init__(self, children: list[Child], say: Callable[[str], None]) -> None:
        self.children, self.say = children, say

    def start(self) -> None:
        for child in self.children:
            child.rotate_log()
            child.start()

    def restart_dead(self) -> None:
        """Restart dead children, after a pause that doubles with each death in a row. Call it a few
        times a second.
        """
        for child in self.children:
            code = child.ended()
            if code is not None:
                self._note_death(child, code)
            if child.process is None and time.monotonic() >= child.again_at:
                child.start()

    def stop(self, grace: float = GRACE_SECONDS) -> None:
        """Terminate all; kill those left after `grace` seconds, or at once at a second Ctrl-C."""
        for child in self.children:
            child.signal(signal.SIGTERM)
        end = time.monotonic() + grace
        try:
            while time.monotonic() < end and any(child.alive() for child in self.children):
                time.sleep(0.02)
        finally:
            for child in self.children:
                child.signal(signal.SIGKILL)
                if child.process:
                    child.process.wait()

    def _note_death(self, child: Child, code: int) -> None:
        child.deaths = 0 if child.lived() > HEALTHY_AFTER else child.deaths + 1
        pause = min(2.0 ** (child.deaths - 1), LONGEST_PAUSE) if child.deaths else 0.0
        child.again_at, child.process = time.monotonic() + pause, None
        how = (
            f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        )
        self.say(
            f"{child.name} {how}; starting it again in {pause:.0f} s. The end of "
            f"{child.log}:\n{child.last_lines()}"
        )
