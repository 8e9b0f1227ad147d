"""A lab's day from the browser alone: a sweep of three SAEs, its worker killed on the way,
dashboards made, all compared.
"""

import os
import re
import signal

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.instance import wait_for

pytestmark = pytest.mark.chromium
SLUGS = [f"sweep-w{width}" for width in (32, 64, 128)]


def over(instance) -> bool:
    rows = instance.rows("SELECT state FROM features_job WHERE id >= %s", over.first)
    return all(row["state"] in ("finished", "failed", "cancelled") for row in rows)


def test_three_saes_are_trained_shown_measured_and_compared_without_a_command(
    admin: Page, instance
):
    admin.goto("/jobs/new/train_sae/")
    admin.get_by_label("Slug").fill("sweep")
    admin.get_by_label("Width").fill("32, 64, 128")
    admin.locator("[name=k]").fill("4")
    admin.get_by_label("Context size").fill("64")
    admin.get_by_label("Tokens", exact=True).fill("150000")
    admin.get_by_role("button", name="Start").click()
    admin.wait_for_url(re.compile(r"/jobs/\d+/$"))
    over.first = pk = int(re.search(r"(\d+)/$", admin.url)[1])

    running = wait_for(lambda: (row := instance.job(pk))["checkpoint"] and row, 120, "a checkpoint")
    os.kill(int(running["worker"].rpartition(":")[2]), signal.SIGKILL)
    expect(admin.locator(".status").first).to_contain_text("finished", timeout=240_000)
    expect(admin.locator("#log")).to_contain_text("Resuming from")
    assert instance.job(pk)["attempts"] == 2

    wait_for(lambda: over(instance), 600, "dashboards, maps, evaluations and labels")
    rows = instance.rows("SELECT id, kind, state, error FROM features_job WHERE id >= %s", pk)
    assert {row["state"] for row in rows} == {"finished"}, rows
    made = instance.rows(
        "SELECT slug FROM features_sae s JOIN features_dashboard d ON d.sae_id = s.id"
        " WHERE slug LIKE 'sweep-%%' AND evaluation IS NOT NULL ORDER BY s.id"
    )
    assert [row["slug"] for row in made] == SLUGS

    admin.reload()
    admin.get_by_role("link", name="Compare these SAEs").click()
    admin.wait_for_url(re.compile("/tiny/compare/"))
    for slug in SLUGS:
        expect(admin.get_by_role("table").get_by_role("link", name=slug).first).to_be_visible()
    expect(admin.locator("svg").first).to_be_visible()
    admin.get_by_role("table").get_by_role("link", name=SLUGS[-1]).first.click()
    admin.wait_for_url(re.compile(f"/tiny/{SLUGS[-1]}/"))
    expect(admin.locator(".tokens t").first).to_be_visible()
