"""Whatever dies, the work is done: jobs finish or say why, with the numbers of an undisturbed run
and nothing twice.

`make faults ROUNDS=20` goes through the whole list twenty times, each time at other moments, on
real processes.
"""

import os
import random
import shutil
import signal
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.instance import wait_for
from tests.faults.chain import MINE, MOMENTS, OVER, Chain, Fault, Hit, Shown
from tests.faults.patient import Patient, gone

MAX_AGAIN = 2
"""Further chains for faults whose moment nobody saw."""
EVERYWHERE = ["training", "ingest", "evaluation", "labels", "merge"]


def kill_the_worker(patient: Patient, job: dict[str, Any]) -> None:
    """One that died before is not known to be dead yet."""
    with suppress(ProcessLookupError):
        os.kill(patient.pid_of(job), signal.SIGKILL)


def stop_the_worker_in_order(patient: Patient, job: dict[str, Any]) -> None:
    with suppress(ProcessLookupError):
        os.kill(patient.pid_of(job), signal.SIGTERM)


def kill_the_web(patient: Patient, job: dict[str, Any]) -> None:
    for process in patient.processes("uvicorn"):
        process.kill()


def kill_postgresql(patient: Patient, job: dict[str, Any]) -> None:
    postmaster = int((patient.var / "postgres" / "postmaster.pid").read_text().splitlines()[0])
    os.kill(postmaster, signal.SIGKILL)


def kill_the_keeper(patient: Patient, job: dict[str, Any]) -> None:
    for process in patient.processes("explorer.local.keeper"):
        process.kill()


def empty_the_broker(patient: Patient, job: dict[str, Any]) -> None:
    for file in (patient.var / "broker").rglob("*"):
        if file.is_file():
            file.unlink(missing_ok=True)


def test_a_worker_that_hangs_loses_its_job(patient: Patient, undisturbed: Shown, turn: int) -> None:
    """In the first round it is the instance's own worker, which hangs until it is ended; later ones
    wake and write nothing.
    """
    chain = Chain(patient, f"hangs-{turn}")
    wait_for(lambda: chain.look() or _running(chain), 300, "training")
    (job,) = _running(chain)
    worker = psutil.Process(patient.pid_of(job))
    worker.suspend()
    patient.tend()
    wait_for(chain.look, 900, f"the chain; {patient.refused}")
    if turn == 0:
        patient.hanging = worker
    else:
        with suppress(
            psutil.NoSuchProcess
        ):  # on a busy machine it was ended as a worker that hangs
            worker.resume()
        name = "SELECT 1 FROM features_worker WHERE name = %s AND seen > now() - interval '3 s'"
        wait_for(
            lambda: gone(worker) or patient.rows(name, job["worker"]),
            200,
            "the worker to speak again",
        )
    assert chain.shown() == undisturbed
    assert "crashed" in str(_said(patient, job["id"]))


def test_whatever_is_killed_at_whatever_point_every_chain_shows_the_same(
    patient: Patient, undisturbed: Shown, turn: int
) -> None:
    draw = random.Random(turn)
    faults: dict[str, list[tuple[str, Fault]]] = {
        "worker": [(moment, kill_the_worker) for moment in EVERYWHERE],
        "web": [(moment, kill_the_web) for moment in EVERYWHERE],
        "postgresql": [(moment, kill_postgresql) for moment in EVERYWHERE],
        "others": [
            ("training", stop_the_worker_in_order),
            (draw.choice(list(MOMENTS)), kill_the_keeper),
            (draw.choice(list(MOMENTS)), empty_the_broker),
        ],
    }
    chains = [
        Chain(patient, f"{name}-{turn}", [Hit(moment, fault, draw) for moment, fault in hits])
        for name, hits in faults.items()
    ]
    hits = [hit for chain in chains for hit in chain.hits]
    with Labeller(patient, f"round {turn}") as labeller:
        _to_the_end(patient, chains)
        for attempt in range(MAX_AGAIN):
            again = [
                Chain(patient, f"{chain.slug}-{attempt}", chain.missed())
                for chain in chains
                if chain.missed()
            ]
            _to_the_end(patient, again)
            chains += again
        wait_for(patient.well, 200, "the website")
    print(*sorted(hit.struck for hit in hits), sep="\n")
    assert all(hit.struck for hit in hits), [hit.name for hit in hits if not hit.struck]
    assert {chain.slug: chain.first == undisturbed for chain in chains} == {
        chain.slug: True for chain in chains
    }
    labeller.check()
    for hit in hits:
        if (
            hit.name == "training"
            and hit.landed
            and hit.fault in (kill_the_worker, stop_the_worker_in_order)
        ):
            assert hit.job
            assert "Resuming from" in str(_said(patient, hit.job["id"])), "its last checkpoint"


def test_messages_delivered_thrice_to_three_workers_run_each_job_once(
    patient: Patient, undisturbed: Shown, turn: int
) -> None:
    patient.tend()
    params = {"sae": "tiny/plain", "corpus": "tales", "tokens": 5000}
    asked = [patient.post("jobs/", {"kind": "evaluate_sae", "params": params}) for _ in range(6)]
    ids = [job["id"] for job in asked if job]
    assert len(ids) == 6, patient.refused
    send = (
        "from celery import current_app as c; [c.send_task('workers.run_job', args=[i], "
        "queue='jobs') for i in 3 * {}]"
    )
    patient.manage("shell", "-c", send.format(ids))
    wait_for(lambda: all(patient.job(pk)["state"] in OVER for pk in ids), 300, "six evaluations")
    rows = [patient.job(pk) for pk in ids]
    assert {(row["state"], row["attempts"]) for row in rows} == {("finished", 1)}
    assert len({str(row["result"]) for row in rows}) == 1


def test_a_full_disk_is_said_and_nothing_half_written_stays(
    patient: Patient, undisturbed: Shown, small_disk: Path | None, turn: int
) -> None:
    if not small_disk:
        pytest.skip("only root can mount a small file system to fill")
    chain = Chain(patient, f"full-{turn}")
    filler = small_disk / "filler"
    try:
        with filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(small_disk).free - 20_000)
        with pytest.raises(AssertionError, match="The disk is full"):
            wait_for(chain.look, 300, "its failure")
    finally:
        filler.unlink()
    first, *rest = patient.rows(MINE, chain.before, f"tiny/{chain.slug}", chain.slug)
    assert "The disk is full" in first["error"]
    assert {job["state"] for job in rest} == {"cancelled"}
    assert patient.rows("SELECT id FROM features_sae WHERE slug = %s", chain.slug) == []
    again = Chain(patient, chain.slug)
    wait_for(again.look, 900, "the chain, once there is room")
    assert again.first == undisturbed


class Labeller:
    """A person who labels features of `tiny/plain` through the API, two a second, for as long as
    the block lasts.
    """

    def __init__(self, patient: Patient, name: str) -> None:
        self.patient, self.name = patient, name
        self.asked = 0
        self.kept: list[str] = []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._label)

    def _label(self) -> None:
        while not self.over.wait(0.5):
            text = f"{self.name}, label {self.asked}"
            self.asked += 1
            where = {"model": "tiny", "sae": "plain", "index": self.asked % 40}
            if self.patient.post("labels/", {**where, "text": text}):
                self.kept.append(text)

    def __enter__(self) -> "Labeller":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()

    def check(self) -> None:
        """What was answered is there, and nothing is there twice."""
        rows = self.patient.rows(
            "SELECT text FROM features_label WHERE text LIKE %s", f"{self.name}, label %"
        )
        found = [row["text"] for row in rows]
        assert len(found) == len(set(found))
        assert self.kept
        assert set(self.kept) <= set(found)


def _to_the_end(patient: Patient, chains: list[Chain]) -> None:
    """All of them at once, with workers hired for those that die."""
    left = list(chains)

    def all_over() -> bool:
        patient.tend()
        left[:] = [chain for chain in left if not chain.look()]
        return not left

    wait_for(all_over, 1800, f"every chain; {patient.refused}")


def _running(chain: Chain) -> list[dict[str, Any]]:
    rows = chain.patient.rows(MINE, chain.before, f"tiny/{chain.slug}", chain.slug)
    return [job for job in rows if job["state"] == "running" and job["done"] > 0][:1]


def _said(patient: Patient, job: int) -> list[dict[str, Any]]:
    """The log of a job, and the notes of its states."""
    return patient.rows(
        "SELECT data->>'text' AS text, data->>'note' AS note FROM features_jobevent WHERE job_id "
        "= %s",
        job,
    )
