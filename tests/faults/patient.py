"""An instance that is hurt: what it takes to start work over HTTP, to look at it, and to hire
workers beside its own.
"""

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg

from explorer.local.processes import die_with_parent
from tests.e2e.instance import ROOT, Instance, wait_for

HIRED = 2
ENVIRONMENT = {
    "FEATURESCOPE_DEMO": "0", "FEATURESCOPE_EMBEDDER": "off", "FEATURESCOPE_LEASE_SECONDS": "8",
    # the cores have more workers than they are many: threads that wait for one another stand still
    "OMP_NUM_THREADS": "1",
}  # fmt: skip
LONGEST_TILL_MUTE = 400
"""Seconds after which a worker that hangs must have been ended: 90 without a word, ten looks, and a
busy machine.
"""


class Patient(Instance):
    """An instance with a tiny model and corpus, and a key to its API. Its own worker of jobs has
    hired ones beside it.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        self.hired: list[subprocess.Popen[bytes]] = []
        self.hanging: psutil.Process | None = None
        self.refused = ""
        super().__init__(**ENVIRONMENT, **environment)

    def fill(self, model: Path, corpus: Path) -> None:
        """Add both, and make a key."""
        assert "Finished" in self.manage("add_model", "tiny", str(model), "--wait")
        assert "Finished" in self.manage("add_corpus", "tales", str(corpus), "--wait")
        self.key = self.manage("create_api_key", "admin").split()[0]

    def post(self, path: str, data: dict[str, Any]) -> dict[str, Any] | None:
        """Ask the API for something; its answer, or None: the website or its database
        may be away.
        """
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        request = urllib.request.Request(
            f"{self.url}/api/v1/{path}", json.dumps(data).encode(), headers
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            self.refused = f"{path} {data}: {error.code} {error.read().decode()}"
            if error.code in (401, 403, 404):
                raise
        except (OSError, ValueError):  # ValueError: an answer that broke off
            pass
        return None

    def try_rows(self, query: str, *values: Any) -> list[dict[str, Any]] | None:
        """Ask the database; None where it is away."""
        try:
            return self.rows(query, *values)
        except psycopg.Error:
            return None

    def pid_of(self, job: dict[str, Any]) -> int:
        """The process that runs it."""
        return int(job["worker"].rpartition(":")[2])

    def tend(self) -> None:
        """Hire workers in the place of those that died."""
        self.hired = [worker for worker in self.hired if worker.poll() is None]
        while len(self.hired) < HIRED:
            command = [
                sys.executable,
                "-m",
                "celery",
                "--app",
                "explorer",
                "worker",
                "--queues",
                "jobs",
                "--include",
            ]
            command += [
                "workers.tasks",
                "--hostname",
                f"hired{time.time_ns()}@%h",
                "--pool",
                "solo",
                "--without-mingle",
            ]
            worker = subprocess.Popen(
                command,
                cwd=ROOT,
                env=self.environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                preexec_fn=die_with_parent(signal.SIGKILL),
            )
            self.hired.append(worker)

    def well(self) -> bool:
        """Whether the website and its database answer."""
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=5) as answer:
                return answer.status == 200 and self.try_rows("SELECT 1") is not None
        except OSError:
            return False

    def settle(self) -> None:
        """Nothing is left of what was hurt: no worker that hangs, no folder of work, no checkpoint
        of a job that is over.
        """
        if self.hanging:
            wait_for(
                lambda: gone(self.hanging), LONGEST_TILL_MUTE, "the end of a worker that hangs"
            )
            assert "does not speak any more" in self.output.read_text()
        wait_for(lambda: not list((self.var / "work").glob("*")), 100, "no folder of work")
        over = (
            "SELECT id FROM features_job WHERE checkpoint <> '' AND state = 'finished' AND "
            "part_of_id IS NULL"
        )
        artifacts = Path(self.environment.get("FEATURESCOPE_ARTIFACTS", self.var / "artifacts"))
        wait_for(
            lambda: (
                not [
                    row for row in self.rows(over) if (artifacts / "jobs" / str(row["id"])).exists()
                ]
            ),
            100,
            "no checkpoint of what is finished",
        )

    def stop(self, keep: bool = False) -> None:
        """End the hired workers, then everything."""
        for worker in self.hired:
            with suppress(ProcessLookupError):
                worker.kill()
            worker.wait()
        super().stop(keep)


def gone(process: psutil.Process | None) -> bool:
    return process is None or not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
