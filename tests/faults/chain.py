"""The work that faults hit: an SAE trained, shown, measured and labelled, and then shown once more
from two shards.
"""

import hashlib
import json
import random
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import psycopg

from tests.faults.patient import Patient

WIDTH = 768
TRAINING = {
    "model": "tiny",
    "corpus": "tales",
    "hook": "blocks.0.hook_resid_post",
    "architecture": "topk",
    "width": WIDTH,
    "k": 4,
    "context_size": 64,
    "tokens": 60_000,
}
OVER = ("finished", "failed", "cancelled")
NUMBERS = """
    SELECT index, fires, density, max_activation, mean_activation, histogram, top_logit_ids,
        top_logits, nearest, cofiring,
        (SELECT json_agg(json_build_array(e.band, e.rank, s.position, e.peak, e.positions, e.values)
            ORDER BY e.band, e.rank)
            FROM features_example e JOIN features_sequence s ON s.id = e.sequence_id
                WHERE e.feature_id = f.id) AS examples
    FROM features_feature f JOIN features_sae ON features_sae.id = f.sae_id
    WHERE features_sae.slug = %s ORDER BY index
"""
LABELS = """
    SELECT f.index, l.method, l.text FROM features_label l
        JOIN features_feature f ON f.id = l.feature_id
    JOIN features_sae ON features_sae.id = f.sae_id
    WHERE features_sae.slug = %s AND l.author_id IS NULL ORDER BY f.index, l.method, l.text
"""
MINE = (
    "SELECT * FROM features_job WHERE id > %s AND (params->>'sae' = %s OR params->>'slug' = "
    "%s) ORDER BY id"
)

Fault = Callable[[Patient, dict[str, Any]], None]


class Shown(NamedTuple):
    """What people see of an SAE: a digest of its dashboards, its evaluation, and what methods say
    of its features.
    """

    dashboards: str
    evaluation: dict[str, Any]
    labels: list[dict[str, Any]]


class Moment(NamedTuple):
    """A time to strike: up to `longest` seconds after a job of that kind is first seen so far."""

    kind: str
    so_far: Callable[[dict[str, Any]], bool]
    longest: float


MOMENTS = {
    "training": Moment("train_sae", lambda job: bool(job["checkpoint"]), 0.5),
    "pass": Moment("compute_dashboards", lambda job: job["unit"] == "tokens", 0.5),
    "ingest": Moment("compute_dashboards", lambda job: bool(job["written"]), 0.3),
    "evaluation": Moment("evaluate_sae", lambda job: True, 0.5),
    "labels": Moment("label_sae", lambda job: True, 2.0),
    "shard": Moment("scan_shard", lambda job: True, 0.5),
    "merge": Moment("compute_dashboards", lambda job: job["unit"] == "parts", 0.2),
}


class Hit:
    """A fault that is to come at a moment, a little later than it is first seen: `due`. `struck`
    says what it hit.

    It `landed` where the job was still running then.
    """

    def __init__(self, moment: str, fault: Fault, draw: random.Random) -> None:
        self.name, self.moment, self.fault = moment, MOMENTS[moment], fault
        self.after = draw.uniform(0, self.moment.longest)
        self.job: dict[str, Any] | None = None
        self.due = 0.0
        self.struck, self.landed = "", False

    def look(self, patient: Patient, running: list[dict[str, Any]]) -> None:
        """Strike where it is time."""
        if self.struck:
            return
        if self.job is None:
            at_it = (
                job
                for job in running
                if job["kind"] == self.moment.kind and self.moment.so_far(job)
            )
            self.job, self.due = next(at_it, None), time.monotonic() + self.after
            return
        now = next((job for job in running if job["id"] == self.job["id"]), None)
        if time.monotonic() >= self.due or now is None:  # it was quicker than was drawn
            self.landed, self.job = (
                now is not None,
                now or self.job,
            )  # it may be on another worker by now
            self.fault(patient, self.job)
            self.struck = (
                f"{time.strftime('%X')} {self.fault.__name__} at {self.name} of job "
                f"{self.job['id']}"
            )


class Chain:
    """Two starts of work on one SAE, always the same: training with what follows, then dashboards
    from two shards.

    `look` does what is to be done now; true when all is over. Every job must finish, but for maps,
    which are cancelled: their minutes have nothing to do with faults.
    """

    def __init__(self, patient: Patient, slug: str, hits: list[Hit] | None = None) -> None:
        self.patient, self.slug, self.hits = patient, slug, hits or []
        self.before = patient.rows("SELECT coalesce(max(id), 0) AS id FROM features_job")[0]["id"]
        self.starts: list[tuple[str, dict[str, Any]]] = [
            ("train_sae", {**TRAINING, "slug": slug}),
            ("compute_dashboards", {"sae": f"tiny/{slug}", "corpus": "tales", "shards": 2}),
        ]
        self.first: Shown | None = None

    def look(self) -> bool:
        """Start, strike, cancel, check."""
        jobs = self.patient.try_rows(MINE, self.before, f"tiny/{self.slug}", self.slug)
        if jobs is None:
            return False
        for hit in self.hits:
            hit.look(self.patient, [job for job in jobs if job["state"] == "running"])
        kind, params = self.starts[0] if self.starts else ("", {})
        if kind and not any(
            job["kind"] == kind and job["params"].get("shards", 1) == params.get("shards", 1)
            for job in jobs
        ):
            self.patient.post("jobs/", {"kind": kind, "params": params})
            return False
        self._cancel(jobs)
        if not all(job["state"] in OVER for job in jobs):
            return False
        return self._end_of_start(jobs)

    def missed(self) -> list[Hit]:
        """Faults that did not come: while the database is away nobody sees a moment, and some are
        short.
        """
        return [hit for hit in self.hits if not hit.struck]

    def _cancel(self, jobs: list[dict[str, Any]]) -> None:
        """The maps, and the labels that follow the second dashboards: those of the
        first must stay.
        """
        twice = [job for job in jobs if job["kind"] == "label_sae"][1:]
        for job in [*twice, *(job for job in jobs if job["kind"] == "map_sae")]:
            if job["state"] not in OVER and not job["cancel_requested"]:
                self.patient.post(f"jobs/{job['id']}/cancel/", {})

    def _end_of_start(self, jobs: list[dict[str, Any]]) -> bool:
        asked = [job for job in jobs if job["kind"] not in ("map_sae", "label_sae")]
        asked += [job for job in jobs if job["kind"] == "label_sae"][:1]
        ends = [
            (job["id"], job["kind"], job["state"], job["error"])
            for job in asked
            if job["state"] != "finished"
        ]
        assert not ends, f"{self.slug}: {ends}; {[hit.struck for hit in self.hits]}"
        try:
            shown = self.shown()
        except psycopg.Error:
            return False
        assert shown == (self.first or shown), (
            f"{self.slug}: shards, or a fault, changed what is shown"
        )
        self.first = shown
        self.starts.pop(0)
        return not self.starts

    def shown(self) -> Shown:
        """What people see now. The SAE is there once."""
        rows = self.patient.rows(NUMBERS, self.slug)
        assert len(rows) == WIDTH, f"{len(rows)} features of {self.slug}"
        (sae,) = self.patient.rows(
            "SELECT id, evaluation FROM features_sae WHERE slug = %s", self.slug
        )
        assert (
            len(self.patient.rows("SELECT 1 FROM features_dashboard WHERE sae_id = %s", sae["id"]))
            == 1
        )
        digest = hashlib.sha256(json.dumps(rows, sort_keys=True, default=str).encode()).hexdigest()
        return Shown(digest, sae["evaluation"]["values"], self.patient.rows(LABELS, self.slug))
