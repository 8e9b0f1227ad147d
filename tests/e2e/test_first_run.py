"""The first run, whole: `manage.py up` on an empty folder makes the demo by itself, with nobody at
the keyboard.
"""

import json
import urllib.request
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.instance import Instance, wait_for

KINDS = ["add_model", "add_corpus", "train_sae", "compute_dashboards", "map_sae", "evaluate_sae"]
"""What has to be done to show features; labels follow, and take several times as long."""


def answer(running: Instance, address: str) -> str:
    with urllib.request.urlopen(running.url + address, timeout=30) as response:
        return str(response.read().decode())


def api(running: Instance, address: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(answer(running, f"/api/v1{address}"))
    return found


def all_over(running: Instance) -> bool:
    jobs = running.rows("SELECT kind, state, error FROM features_job ORDER BY id")
    wrong = [job for job in jobs if job["state"] in ("failed", "cancelled")]
    assert not wrong, wrong
    return [job["kind"] for job in jobs if job["state"] == "finished"][: len(KINDS)] == KINDS


@dataclass
class Demo:
    """What a demo of so many tokens shows at least, or at most where it is a loss."""

    tokens: int
    alive: float
    explained_variance: float
    dead_share: float


@pytest.mark.parametrize(
    "demo",
    [
        pytest.param(Demo(60_000, 0.5, 0.4, 0.5), id="small"),
        pytest.param(Demo(1_000_000, 0.9, 0.75, 0.1), id="full size", marks=pytest.mark.full),
    ],
)
def test_an_empty_instance_makes_the_demo_and_shows_its_features(demo):
    running = Instance(FEATURESCOPE_DEMO="1", FEATURESCOPE_DEMO_TOKENS=str(demo.tokens))
    try:
        assert "Happening now" in answer(running, "/")  # from the first second
        wait_for(lambda: all_over(running), 1200, "the six jobs of the demo")
        assert running.rows("SELECT state FROM features_job WHERE kind = 'label_sae'"), (
            "labels follow"
        )
        sae = api(running, "/saes/demo-python/2-res/")
        measured = sae["evaluation"]["values"]
        assert sae["width"] == 2048
        assert sae["provenance"]["tokens"] >= min(demo.tokens, 300_000)
        assert sae["provenance"]["alive"] > demo.alive * 2048
        assert sae["provenance"]["map"]["features"] == sae["provenance"]["alive"]
        assert measured["explained_variance"] > demo.explained_variance
        assert measured["dead_share"] < demo.dead_share
        assert measured["ce_original"] < 2.6, "nats per held-out token; bigrams reach 4.66"
        listed = api(running, "/features/demo-python/2-res/?order=-max_activation&limit=10")[
            "results"
        ]
        for row in listed:
            page = answer(running, f"/demo-python/2-res/{row['index']}/")
            assert "Top examples" in page
            top = api(running, f"/features/demo-python/2-res/{row['index']}/")["bands"][0][
                "examples"
            ]
            assert top[0]["value"] == pytest.approx(row["max_activation"], rel=1e-5)
            assert all(any(token["peak"] for token in example["tokens"]) for example in top)
    finally:
        running.stop()
