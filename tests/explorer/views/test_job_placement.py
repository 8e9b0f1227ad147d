"""Priority and device of a job: the same from the page, the API and a command, for it and for those
that follow it.
"""

import re
from html import unescape

import pytest
from django.core.management import call_command

from features.jobs import events as job_events
from features.jobs import execution as job_execution
from features.jobs import lifecycle
from features.models import Job, JobEvent
from features.services.jobs import resume, start
from tests import builders

pytestmark = pytest.mark.django_db
SETTINGS = {
    "model": "tiny",
    "corpus": "tiny-stories",
    "slug": "new",
    "hook": "blocks.2.hook_resid_post",
    "width": 512,
}
URGENT = {"priority": "high", "device": "gpu"}


@pytest.fixture
def ada(client):
    builders.planted()
    ada, *_ = builders.cast()
    client.force_login(ada)
    return ada


def places():
    return set(Job.objects.values_list("queue", "priority"))


def test_the_jobs_that_follow_take_the_same_place(ada):
    start("train_sae", SETTINGS, placing=URGENT)
    assert Job.objects.count() >= 3
    assert places() == {("jobs-gpu", 1)}


def test_the_page_asks_for_it(client, ada):
    html = client.get("/jobs/new/train_sae/").content.decode()
    assert 'name="priority"' in html
    assert 'name="device"' in html
    client.post(
        "/jobs/new/evaluate_sae/",
        {"sae": "tiny/2-res", "corpus": "tiny-stories", "tokens": 1000, **URGENT},
    )
    assert places() == {("jobs-gpu", 1)}


def test_the_page_refuses_what_is_none_of_them(client, ada):
    data = {
        "sae": "tiny/2-res",
        "corpus": "tiny-stories",
        "tokens": 1000,
        "priority": "very",
        "device": "gpu",
    }
    response = client.post("/jobs/new/evaluate_sae/", data)
    assert response.status_code == 422
    assert "Select a valid choice. very" in response.content.decode()
    assert not Job.objects.exists()


def test_the_api_takes_it(client, ada):
    body = {"kind": "evaluate_sae", "params": {"sae": "tiny/2-res", "corpus": "tiny-stories"}}
    told = client.post(
        "/api/v1/jobs/",
        body | {"priority": "low", "device": "cpu"},
        content_type="application/json",
    ).json()
    assert (told["queue"], told["priority"]) == ("jobs-cpu", -1)
    refused = client.post(
        "/api/v1/jobs/", body | {"device": "tpu"}, content_type="application/json"
    )
    assert refused.status_code == 400
    assert "device" in refused.json()["error"]["fields"]
    assert places() == {("jobs-cpu", -1)}


def test_a_command_takes_it(ada):
    call_command("evaluate_sae", "tiny/2-res", corpus="tiny-stories", priority="high", device="gpu")
    assert places() == {("jobs-gpu", 1)}


def test_staff_put_jobs_before_others_and_run_them_again_from_the_admin_in_bulk(client, ada):
    ids = [
        start("evaluate_sae", {"sae": "tiny/2-res", "corpus": "tiny-stories"}).pk for _ in range(2)
    ]
    ada.is_superuser = True
    ada.save()
    client.post("/admin/features/job/", {"action": "put_first", "_selected_action": ids})
    assert places() == {("jobs", 1)}
    for pk in ids:
        lifecycle.cancel(pk)
    client.post("/admin/features/job/", {"action": "run_again", "_selected_action": ids})
    again = Job.objects.exclude(pk__in=ids)
    assert [job.params for job in again] == [Job.objects.get(pk=ids[0]).params] * 2
    by = JobEvent.objects.filter(by="ada").values_list("job_id", flat=True)
    assert {*ids, *again.values_list("pk", flat=True)} == set(by)


def test_running_again_what_cannot_be_says_why(client, ada):
    job = start("evaluate_sae", {"sae": "tiny/2-res", "corpus": "tiny-stories"})
    lifecycle.cancel(job.pk)
    Job.objects.update(params={"sae": "tiny/gone", "corpus": "tiny-stories"})
    ada.is_superuser = True
    ada.save()
    response = client.post(
        "/admin/features/job/", {"action": "run_again", "_selected_action": [job.pk]}, follow=True
    )
    assert "There is no SAE “tiny/gone”" in response.content.decode()
    assert Job.objects.count() == 1


def test_what_is_resumed_or_run_again_asks_for_the_same_device(client, ada, monkeypatch):
    """The message, too: it is what a worker gets."""
    sent = []
    monkeypatch.setattr(job_events, "send", lambda job_id, queue: sent.append(queue))
    old = job_execution.claim(start("train_sae", SETTINGS, placing=URGENT).pk, "one")
    job_execution.store_checkpoint(old, f"jobs/{old.pk}/checkpoints/5000")
    job_execution.end_cancelled(old)
    lifecycle.cancel(resume(old.pk).pk)
    ada.is_superuser = True
    ada.save()
    client.post("/admin/features/job/", {"action": "run_again", "_selected_action": [old.pk]})
    assert Job.objects.filter(kind="train_sae").count() == 3
    assert places() == {("jobs-gpu", 1)}
    assert sent == ["jobs-gpu"] * 3


def test_run_again_with_changes_proposes_the_same_place(client, ada):
    job = start("evaluate_sae", {"sae": "tiny/2-res", "corpus": "tiny-stories"}, placing=URGENT)
    address = re.search(
        r'href="(/jobs/new/[^"]*)"', client.get(f"/jobs/{job.pk}/").content.decode()
    )[1]
    html = client.get(unescape(address)).content.decode()
    assert '<option value="high" selected>' in html
    assert '<option value="gpu" selected>' in html
    assert client.get("/jobs/new/evaluate_sae/?priority=very&device=x").status_code == 200
