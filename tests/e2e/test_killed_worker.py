"""A worker that dies loses nothing: its job goes back to the queue by itself and goes on from its
checkpoint.
"""

import os
import re
import signal

from tests.e2e.instance import Instance, wait_for

HOOK = "blocks.0.hook_resid_post"


def start(instance: Instance, slug: str, tokens: int) -> int:
    said = instance.manage(
        "train_sae",
        f"tiny/{slug}",
        "--corpus",
        "tales",
        "--hook",
        HOOK,
        "--width",
        "128",
        "--k",
        "4",
        "--context-size",
        "64",
        "--tokens",
        str(tokens),
        "--no-then",
    )
    found = re.search(r"Job (\d+)", said)
    assert found, said
    return int(found[1])


def test_kill_9_in_the_middle_of_training(instance, finished):
    pk = start(instance, "killed", 200_000)
    running = wait_for(lambda: (row := instance.job(pk))["checkpoint"] and row, 120, "a checkpoint")
    assert running["state"] == "running"
    os.kill(int(running["worker"].rpartition(":")[2]), signal.SIGKILL)

    assert instance.job(pk)["state"] == "running"  # nobody told the database
    again = wait_for(
        lambda: (row := instance.job(pk))["attempts"] == 2 and row, 90, "the second attempt"
    )
    assert again["worker"] != running["worker"]
    job = finished(pk, 240)
    assert (job["state"], job["attempts"]) == ("finished", 2), job["error"]

    log = [
        row["text"]
        for row in instance.rows(
            "SELECT data->>'text' AS text FROM features_jobevent WHERE job_id = %s AND kind = "
            "'log' ORDER BY id",
            pk,
        )
    ]
    assert any(
        text.startswith(f"Resuming from {running['checkpoint'].rpartition('/')[0]}") for text in log
    ), log
    assert len(instance.rows("SELECT id FROM features_sae WHERE slug = 'killed'")) == 1
    steps = [
        row["step"]
        for row in instance.rows(
            "SELECT (data->>'step')::int AS step FROM features_jobevent WHERE job_id = %s AND "
            "kind = 'metrics' ORDER BY id",
            pk,
        )
    ]
    assert steps[-1] >= 200_000


def test_cancel_stops_within_seconds_and_keeps_only_what_can_be_resumed(instance, finished):
    pk = start(instance, "stopped", 50_000_000)
    wait_for(lambda: instance.job(pk)["done"] > 0, 60, "progress")
    instance.rows("UPDATE features_job SET cancel_requested = true WHERE id = %s RETURNING id", pk)
    job = finished(pk, 10)
    assert job["state"] == "cancelled"
    assert job["checkpoint"].startswith(f"jobs/{pk}/checkpoints/")
    assert (instance.var / "artifacts" / job["checkpoint"]).is_dir()
    assert not instance.rows("SELECT id FROM features_sae WHERE slug = 'stopped'")
