"""The first run, whole: `manage.py up` on an empty folder makes the demo by itself, with nobody at
the keyboard.
"""

import json
import urllib.request
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


@pytest.mark.slow
def test_an_empty_instance_makes_the_demo_and_shows_its_features():
    running = Instance(FEATURESCOPE_DEMO="1")
    try:
        assert "Happening now" in answer(running, "/")  # from the first second
        wait_for(lambda: all_over(running), 1200, "the six jobs of the demo")
        assert running.rows("SELECT state FROM features_job WHERE kind = 'label_sae'"), (
            "labels follow"
        )
        sae = api(running, "/saes/demo-python/2-res/")
        measured = sae["evaluation"]["values"]
        assert sae["width"] == 2048
        assert sae["provenance"]["tokens"] >= 300_000
        assert sae["provenance"]["alive"] > 0.9 * 2048
        assert sae["provenance"]["map"]["features"] == sae["provenance"]["alive"]
        assert measured["explained_variance"] > 0.75
        assert measured["dead_share"] < 0.1
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
