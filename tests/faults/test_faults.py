"""Whatever dies, the work is done: jobs finish or say why, with the numbers of an undisturbed run and nothing twice.

`make faults ROUNDS=20` runs every fault twenty times, each time at other moments, on real processes.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from explorer.processes import die_with_parent
from tests.e2e.instance import ROOT, wait_for
from tests.faults.conftest import Patient

LONGEST_WAIT = 6.0


def at_some_moment(draw: random.Random) -> None:
    time.sleep(draw.uniform(0.2, LONGEST_WAIT))


def check(patient: Patient, slug: str, ids: list[int], undisturbed: str) -> None:
    """The chain finished, and shows what it would have shown."""
    patient.settled(ids)
    assert patient.numbers(slug) == undisturbed
    assert len(patient.rows("SELECT id FROM features_sae WHERE slug = %s", slug)) == 1


def hit(patient: Patient, sign: signal.Signals) -> None:
    """Signal the worker of the running job; one that died before is not known to be dead yet."""
    if job := patient.running():
        with suppress(ProcessLookupError):
            os.kill(patient.pid_of(job), sign)


def kill_the_worker(patient: Patient) -> None:
    hit(patient, signal.SIGKILL)


def kill_the_web(patient: Patient) -> None:
    for process in patient.processes("uvicorn"):
        process.kill()


def kill_postgresql(patient: Patient) -> None:
    postmaster = int((patient.var / "postgres" / "postmaster.pid").read_text().splitlines()[0])
    os.kill(postmaster, signal.SIGKILL)


def kill_the_keeper(patient: Patient) -> None:
    for process in patient.processes("explorer.keeper"):
        process.kill()


def stop_the_worker_in_order(patient: Patient) -> None:
    hit(patient, signal.SIGTERM)


def empty_the_broker(patient: Patient) -> None:
    for file in (patient.var / "broker").rglob("*"):
        if file.is_file():
            file.unlink(missing_ok=True)


FAULTS = [kill_the_worker, kill_the_web, kill_postgresql, kill_the_keeper, stop_the_worker_in_order, empty_the_broker]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_it_happens_three_times_while_a_chain_runs(patient, undisturbed, fault: Callable[[Patient], None], turn):
    draw = random.Random(f"{fault.__name__} {turn}")
    slug = f"{fault.__name__.replace('_', '-')}-{turn}"
    ids = patient.chain(slug)
    for _ in range(3):
        at_some_moment(draw)
        wait_for(lambda: answers(patient), 60, "the database")
        fault(patient)
    wait_for(lambda: answers(patient), 60, "the database")
    check(patient, slug, ids, undisturbed)
    wait_for(lambda: serves(patient), 60, "the website")
    if fault is stop_the_worker_in_order:
        assert {patient.job(pk)["attempts"] for pk in ids} == {1}


def answers(patient: Patient) -> bool:
    try:
        return bool(patient.rows("SELECT 1"))
    except Exception:  # psycopg's, while the server starts
        return False


def serves(patient: Patient) -> bool:
    try:
        with urllib.request.urlopen(f"{patient.url}/healthz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_a_message_that_is_delivered_three_times_runs_the_job_once(patient, undisturbed, turn):
    slug = f"thrice-{turn}"
    ids = patient.chain(slug)
    send = (
        "from celery import current_app as c; [c.send_task('workers.run_job', args=[{}], queue='jobs') for _ in '123']"
    )
    patient.manage("shell", "-c", send.format(ids[0]))
    check(patient, slug, ids, undisturbed)
    assert {patient.job(pk)["attempts"] for pk in ids} == {1}


def test_two_workers_that_claim_at_once_share_the_jobs(patient, undisturbed, turn):
    with another_worker(patient):
        ids = [
            patient.start_job("evaluate_sae", "tiny/plain", "--corpus", "tales", "--tokens", "5000") for _ in range(6)
        ]
        rows = patient.settled(ids)
    assert {row["attempts"] for row in rows} == {1}
    assert len({str(row["result"]) for row in rows}) == 1


def test_a_worker_that_hangs_loses_its_job_and_is_ended(patient, undisturbed, turn):
    slug = f"hangs-{turn}"
    ids = patient.chain(slug)
    job = wait_for(lambda: (row := patient.running()) and row["done"] > 0 and row, 60, "progress")
    stopped = psutil.Process(patient.pid_of(job))
    stopped.suspend()
    with another_worker(patient):
        check(patient, slug, ids, undisturbed)
    wait_for(lambda: not stopped.is_running() or stopped.status() == psutil.STATUS_ZOMBIE, 150, "its end")
    assert "does not speak any more" in patient.output.read_text()


@contextmanager
def another_worker(patient: Patient) -> Iterator[None]:
    command = [sys.executable, "-m", "celery", "--app", "explorer", "worker", "--queues", "jobs", "--include"]
    worker = subprocess.Popen(
        [*command, "workers.tasks", "--hostname", f"second{time.time_ns()}@%h", "--pool", "solo", "--without-mingle"],
        cwd=ROOT, env=patient.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        preexec_fn=die_with_parent(signal.SIGKILL),
    )  # fmt: skip
    try:
        yield
    finally:
        worker.terminate()
        try:
            worker.wait(20)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()


@pytest.fixture
def small_disk(tmp_path_factory) -> Iterator[Path]:
    """A file system of 8 MB for artifacts."""
    place = tmp_path_factory.mktemp("small")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=0777", "tmpfs", str(place)], check=False)
    if mounted.returncode:
        pytest.skip("only root can mount a small file system to fill")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_full_disk_is_said_and_nothing_half_written_stays(small_disk, tiny_model, tiny_corpus, turn):
    patient = Patient(FEATURESCOPE_DEMO="0", FEATURESCOPE_ARTIFACTS=str(small_disk))
    try:
        patient.fill(tiny_model, tiny_corpus)
        filler = small_disk / "filler"
        filler.write_bytes(bytes(shutil.disk_usage(small_disk).free - 20_000))
        first, *rest = patient.chain("full")
        wait_for(lambda: patient.job(first)["state"] == "failed", 120, "its failure")
        assert "The disk is full" in patient.job(first)["error"]
        assert {patient.job(pk)["state"] for pk in rest} == {"cancelled"}
        assert patient.rows("SELECT id FROM features_sae") == []
        filler.unlink()
        patient.settled(patient.chain("full"))
        assert len(patient.numbers("full")) == 64
    finally:
        patient.stop()
