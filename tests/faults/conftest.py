"""An instance to hurt, the text and model that it works on, and what an undisturbed run of the same
work gives.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import tiny_model, write_corpus  # noqa: F401
from tests.e2e.instance import wait_for
from tests.faults.chain import Chain, Shown
from tests.faults.patient import Patient

ROUNDS, FIRST = (
    int(os.environ.get(name, usual)) for name, usual in (("ROUNDS", "1"), ("FIRST", "0"))
)
DISK = "128m"


@pytest.fixture(scope="session")
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path | None]:
    """A file system of 128 MB for artifacts, in memory; None where we may not mount one."""
    place = tmp_path_factory.mktemp("small")
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=0777", "tmpfs", str(place)]
    mounted = subprocess.run(mount, check=False, capture_output=True).returncode == 0
    yield place if mounted else None
    if mounted:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture(scope="session")
def patient(
    tiny_model: Any,  # noqa: F811
    small_disk: Path | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Patient]:
    """Up, for all rounds; at the end stopped without leaving a process, a folder of work, or a
    worker that hangs.
    """
    corpus = write_corpus(tmp_path_factory.mktemp("corpus") / "tales.jsonl", documents=600)
    running = Patient({"FEATURESCOPE_ARTIFACTS": str(small_disk)} if small_disk else {})
    try:
        running.fill(tiny_model, corpus)
        yield running
        running.settle()
    finally:
        running.stop()
    assert running.processes() == []


@pytest.fixture(scope="session")
def undisturbed(patient: Patient) -> Shown:
    """What a chain shows in which nothing happened: `tiny/plain`."""
    chain = Chain(patient, "plain")
    wait_for(chain.look, 900, "an undisturbed chain")
    return chain.shown()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every fault in every round; one round after the other."""
    if "turn" in metafunc.fixturenames:
        metafunc.parametrize("turn", range(FIRST, FIRST + ROUNDS), scope="session")
