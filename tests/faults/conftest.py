"""An instance to hurt, the text and model that it works on, and what an undisturbed run of the same work gives."""

import hashlib
import json
import os
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conftest import tiny_corpus, tiny_model  # noqa: F401
from tests.e2e.instance import Instance, wait_for

ROUNDS = int(os.environ.get("ROUNDS", "1"))
OVER = ("finished", "failed", "cancelled")
SETTINGS = (
    "--corpus", "tales", "--hook", "blocks.0.hook_resid_post", "--width", "64", "--k", "4", "--context-size", "64",
    "--tokens", "150000",
)  # fmt: skip
NUMBERS = """
    SELECT index, fires, density, max_activation, mean_activation, histogram, top_logit_ids, top_logits, nearest, cofiring,
        (SELECT json_agg(json_build_array(e.band, e.rank, s.position, e.peak, e.positions, e.values) ORDER BY e.band, e.rank)
            FROM features_example e JOIN features_sequence s ON s.id = e.sequence_id WHERE e.feature_id = f.id) AS examples
    FROM features_feature f JOIN features_sae ON features_sae.id = f.sae_id
    WHERE features_sae.slug = %s ORDER BY index
"""


class Patient(Instance):
    """An instance with a tiny model and corpus."""

    def fill(self, model: Any, corpus: Any) -> None:
        """Add both."""
        assert "Finished" in self.manage("add_model", "tiny", str(model), "--wait")
        assert "Finished" in self.manage("add_corpus", "tales", str(corpus), "--wait")

    def start_job(self, *arguments: str) -> int:
        """Queue a job by its command; its id."""
        said = self.manage(*arguments)
        found = re.search(r"Job (\d+)", said)
        assert found, said
        return int(found[1])

    def chain(self, slug: str) -> list[int]:
        """Queue training, dashboards and evaluation of a new SAE, the same one each time; their ids."""
        first = self.start_job("train_sae", f"tiny/{slug}", *SETTINGS)
        wanted = (f"tiny/{slug}",)
        rows = self.rows("SELECT id FROM features_job WHERE params->>'sae' = %s OR id = %s ORDER BY id", *wanted, first)
        return [row["id"] for row in rows]

    def running(self) -> dict[str, Any] | None:
        """The job that runs now, if one does."""
        rows = self.rows("SELECT * FROM features_job WHERE state = 'running' ORDER BY id LIMIT 1")
        return rows[0] if rows else None

    def pid_of(self, job: dict[str, Any]) -> int:
        """The process that runs it."""
        return int(job["worker"].rpartition(":")[2])

    def settled(self, ids: list[int], seconds: float = 300) -> list[dict[str, Any]]:
        """Wait until the jobs are over; every one must have finished."""

        def over() -> list[dict[str, Any]]:
            rows = [self.job(pk) for pk in ids]
            return rows if all(row["state"] in OVER for row in rows) else []

        rows = wait_for(over, seconds, f"the end of jobs {ids}")
        assert [row["state"] for row in rows] == ["finished"] * len(ids), [
            (r["id"], r["state"], r["error"]) for r in rows
        ]
        return rows

    def numbers(self, slug: str) -> str:
        """A digest of everything that the dashboards of an SAE hold."""
        rows = self.rows(NUMBERS, slug)
        assert len(rows) == 64, f"{len(rows)} features of {slug}"
        return hashlib.sha256(json.dumps(rows, sort_keys=True, default=str).encode()).hexdigest()


@pytest.fixture(scope="session")
def patient(tiny_model: Any, tiny_corpus: Any) -> Iterator[Patient]:  # noqa: F811
    """Up, and at the end stopped without leaving a process."""
    running = Patient(FEATURESCOPE_DEMO="0")
    try:
        running.fill(tiny_model, tiny_corpus)
        yield running
    finally:
        running.stop()
    assert running.processes() == []


@pytest.fixture(scope="session")
def undisturbed(patient: Patient) -> str:
    """The numbers of a run in which nothing happened."""
    patient.settled(patient.chain("plain"))
    return patient.numbers("plain")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every fault in every round."""
    if "turn" in metafunc.fixturenames:
        metafunc.parametrize("turn", range(ROUNDS))
