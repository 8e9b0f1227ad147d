"""Ctrl-C in the middle of training: the job is given back at once, and the next start goes on with
it.
"""

import re
import time

from tests.e2e.instance import wait_for


def test_a_job_that_ran_at_ctrl_c_is_queued_and_goes_on_at_the_next_start(instance):
    said = instance.manage(
        "train_sae",
        "tiny/interrupted",
        "--corpus",
        "tales",
        "--hook",
        "blocks.0.hook_resid_post",
        "--width",
        "128",
        "--k",
        "4",
        "--context-size",
        "64",
        "--tokens",
        "250000",
        "--no-then",
    )
    pk = int(re.search(r"Job (\d+)", said)[1])
    wait_for(lambda: instance.job(pk)["done"] > 0, 90, "progress")
    pressed = time.monotonic()
    instance.stop(keep=True)
    assert time.monotonic() - pressed < 20
    instance.start()
    job = instance.job(pk)
    assert job["attempts"] <= 1, "a Ctrl-C is no death of a worker"
    wait_for(lambda: instance.job(pk)["state"] == "finished", 240, "the end of the job")
    notes = instance.rows(
        "SELECT data->>'note' AS note, data->>'text' AS text FROM features_jobevent WHERE "
        "job_id = %s ORDER BY id",
        pk,
    )
    assert any(row["note"] == "its worker was stopped" for row in notes), notes
    assert any((row["text"] or "").startswith("Resuming at") for row in notes), notes
    assert instance.job(pk)["attempts"] == 1
