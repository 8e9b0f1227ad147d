"""The life of a job: one winner at every change of state, leases that pass, followers that wait,
and a pace that is true.
"""

import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from features.jobs import events as job_events
from features.jobs import execution as job_execution
from features.jobs import lifecycle
from features.jobs import recovery as job_recovery
from features.models import Job
from features.queue.claims import LostLease
from features.records import Metrics, Progress

pytestmark = pytest.mark.django_db


@pytest.fixture
def sent(monkeypatch):
    """Ids of the jobs whose message was sent, in order."""
    ids = []
    monkeypatch.setattr(job_events, "send", lambda job_id, queue: ids.append(job_id))
    return ids


def queued(after=None):
    return lifecycle.create("add_model", {"slug": "x"}, after=after)


def states(*rows):
    by_id = dict(Job.objects.values_list("id", "state"))
    return [by_id[row.pk] for row in rows]


def lease_passes(job):
    Job.objects.filter(pk=job.pk).update(lease_until=timezone.now() - timedelta(seconds=1))


def said(job):
    return [
        (e.data.get("state") or e.data.get("text"), e.data.get("note", ""))
        for e in job.events.order_by("id")
    ]


def test_a_job_is_claimed_once():
    job = queued()
    assert job_execution.claim(job.pk, "one").worker == "one"
    assert job_execution.claim(job.pk, "two") is None
    job.refresh_from_db()
    assert (job.worker, job.attempts, job.state) == ("one", 1, "running")


def test_a_message_that_comes_again_after_the_end_finds_nothing_to_do():
    job = queued()
    job_execution.finish(job_execution.claim(job.pk, "one"), {"model": "x"})
    assert job_execution.claim(job.pk, "two") is None
    assert states(job) == ["finished"]


def test_a_message_without_a_job_finds_nothing_to_do():
    assert job_execution.claim(12345, "one") is None


@pytest.mark.django_db(transaction=True)
def test_of_two_workers_that_claim_at_once_one_wins():
    job = queued()
    barrier, won = threading.Barrier(8), []

    def claim(name):
        try:
            barrier.wait()
            if job_execution.claim(job.pk, name):
                won.append(name)
        finally:
            connection.close()

    threads = [threading.Thread(target=claim, args=(f"worker {n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    job.refresh_from_db()
    assert won == [job.worker]
    assert job.attempts == 1
    assert said(job)[1:] == [("running", f"on {job.worker}")]


def test_a_heartbeat_renews_the_lease_and_brings_word_of_a_request_to_cancel():
    job = job_execution.claim(queued().pk, "one")
    before = job.lease_until
    assert job_execution.renew_lease(job) is False
    job.refresh_from_db()
    assert job.lease_until > before
    lifecycle.cancel(job.pk)
    assert job_execution.renew_lease(job) is True


def test_a_lease_is_as_long_as_the_settings_say(settings):
    settings.LEASE_SECONDS = 120
    now = timezone.now()
    job = job_execution.claim(queued().pk, "w")
    assert timedelta(seconds=119) < job.lease_until - now < timedelta(seconds=125)


def test_a_job_whose_lease_passed_goes_back_to_the_queue_and_its_old_worker_can_write_no_more():
    job = job_execution.claim(queued().pk, "one")
    job_execution.store_checkpoint(job, "jobs/1/checkpoints/5")
    assert job_recovery.reap() == []
    lease_passes(job)
    assert job_recovery.reap() == [job.pk]
    again = job_execution.claim(job.pk, "two")
    assert (again.attempts, again.checkpoint) == (2, "jobs/1/checkpoints/5")
    for write in (
        lambda: job_execution.renew_lease(job),
        lambda: job_execution.write_progress(job, Progress(1, 2, "tokens", "")),
        lambda: job_execution.store_checkpoint(job, "elsewhere"),
        lambda: job_execution.finish(job, {}),
        lambda: job_execution.fail(job, "late"),
        lambda: job_execution.end_cancelled(job),
        lambda: job_execution.release(job, "late"),
    ):
        with pytest.raises(LostLease):
            write()
    assert states(job) == ["running"]


def test_a_job_that_kills_its_workers_fails_in_the_end_and_its_followers_are_cancelled():
    job = queued()
    follower = queued(after=job)
    for n in range(job_execution.MAX_ATTEMPTS):
        assert job_execution.claim(job.pk, f"worker {n}")
        lease_passes(job)
        job_recovery.reap()
    assert states(job, follower) == ["failed", "cancelled"]
    job.refresh_from_db()
    assert "crashed 5 times" in job.error


def test_a_dead_workers_job_that_was_to_be_cancelled_is_cancelled():
    job = job_execution.claim(queued().pk, "one")
    lifecycle.cancel(job.pk)
    lease_passes(job)
    job_recovery.reap()
    assert states(job) == ["cancelled"]


def test_two_reapers_take_a_job_back_once():
    job = job_execution.claim(queued().pk, "one")
    lease_passes(job)
    assert (job_recovery.reap(), job_recovery.reap()) == ([job.pk], [])
    assert [state for state, _ in said(job)].count("queued") == 2  # when it was made, and now


def test_a_worker_that_must_stop_gives_its_job_back_without_counting_an_attempt():
    job = job_execution.claim(queued().pk, "one")
    job_execution.release(job, "told to stop")
    job.refresh_from_db()
    assert (job.state, job.attempts, job.lease_until) == ("queued", 0, None)


def test_a_job_to_be_cancelled_whose_worker_must_stop_is_cancelled_and_not_queued_for_ever():
    job = job_execution.claim(queued().pk, "one")
    follower = queued(after=job)
    lifecycle.cancel(job.pk)
    job_execution.release(job, "told to stop")
    assert states(job, follower) == ["cancelled", "cancelled"]


def test_a_request_to_cancel_that_a_reaper_has_not_seen_is_not_lost():
    job = job_execution.claim(queued().pk, "one")
    lease_passes(job)
    stale = Job.objects.get(pk=job.pk)
    lifecycle.cancel(job.pk)
    assert job_recovery.take_back(stale) is False
    assert job_recovery.reap() == [job.pk]
    assert states(job) == ["cancelled"]


def test_followers_wait_are_queued_one_after_the_other_and_cannot_be_claimed_before():
    first = queued()
    second = queued(after=first)
    third = queued(after=second)
    assert states(first, second, third) == ["queued", "waiting", "waiting"]
    assert job_execution.claim(second.pk, "one") is None
    job_execution.finish(job_execution.claim(first.pk, "one"), {})
    assert states(first, second, third) == ["finished", "queued", "waiting"]
    assert (job_execution.claim(second.pk, "one").after_id, states(third)) == (
        first.pk,
        ["waiting"],
    )


@pytest.mark.parametrize(
    "end", [lambda job: job_execution.fail(job, "no"), job_execution.end_cancelled]
)
def test_all_that_waited_is_cancelled_where_a_job_does_not_finish(end):
    first = queued()
    second = queued(after=first)
    third = queued(after=second)
    end(job_execution.claim(first.pk, "one"))
    assert states(second, third) == ["cancelled", "cancelled"]
    assert said(third)[-1] == ("cancelled", "the job before it did not finish")


def test_cancelling_a_waiting_or_queued_job_ends_it_and_all_that_waited_at_once():
    first = queued()
    second = queued(after=first)
    third = queued(after=second)
    assert lifecycle.cancel(second.pk, by="ada")
    assert states(first, second, third) == ["queued", "cancelled", "cancelled"]
    assert lifecycle.cancel(first.pk)
    assert job_execution.claim(first.pk, "one") is None
    assert said(second)[-1] == ("cancelled", "by ada")


def test_cancelling_a_running_job_asks_once_and_leaves_the_end_to_its_worker():
    job = job_execution.claim(queued().pk, "one")
    assert lifecycle.cancel(job.pk, by="ada")
    assert not lifecycle.cancel(job.pk)
    assert states(job) == ["running"]
    job_execution.end_cancelled(job)
    assert states(job) == ["cancelled"]
    assert not lifecycle.cancel(job.pk)
    assert [text for text, _ in said(job)].count("Cancel requested by ada.") == 1


def test_the_pace_counts_from_the_first_word_of_an_attempt_and_not_what_came_before():
    job = job_execution.claim(queued().pk, "one")
    job_execution.write_progress(job, Progress(1000, 10_000, "tokens", ""))
    Job.objects.filter(pk=job.pk).update(rate_at=timezone.now() - timedelta(seconds=10))
    job_execution.write_progress(job, Progress(3000, 10_000, "tokens", ""))
    job.refresh_from_db()
    assert job.rate == pytest.approx(200, rel=0.01)
    assert job.seconds_left == pytest.approx(35, rel=0.01)


def test_the_pace_begins_anew_with_an_attempt_a_unit_and_a_step_back():
    job = job_execution.claim(queued().pk, "one")
    job_execution.write_progress(job, Progress(5000, 10_000, "tokens", ""))
    lease_passes(job)
    job_recovery.reap()
    again = job_execution.claim(job.pk, "two")
    assert (again.rate, again.seconds_left, again.rate_done) == (None, None, None)
    for record in (
        Progress(4000, 10_000, "tokens", ""),
        Progress(10, 2048, "features", ""),
        Progress(5, 2048, "features", ""),
    ):
        job_execution.write_progress(again, record)
        again.refresh_from_db()
        assert again.rate_done == record.done


def test_metrics_and_log_lines_of_a_job_stay_in_order():
    job = job_execution.claim(queued().pk, "one")
    for step in range(3):
        job_events.metrics(job.pk, Metrics(step, {"loss": float(step)}))
        job_events.log(job.pk, f"step {step}")
    assert [e.data["step"] for e in job.events.filter(kind="metrics")] == [0, 1, 2]
    assert [text for text, _ in said(job) if text and text.startswith("step")] == [
        "step 0",
        "step 1",
        "step 2",
    ]


def due(job):
    Job.objects.filter(pk=job.pk).update(not_before=timezone.now() - timedelta(seconds=1))


def test_what_failed_for_a_while_is_tried_again_later_and_each_pause_is_longer():
    job = queued()
    pauses = []
    for _ in range(4):
        job_execution.retry(job_execution.claim(job.pk, "one"), "The hub does not answer.")
        job.refresh_from_db()
        pauses.append(round((job.not_before - timezone.now()).total_seconds()))
        assert (job.state, job_execution.claim(job.pk, "early")) == ("queued", None)
        due(job)
    assert pauses == [10, 30, 90, 270]
    job_execution.retry(job_execution.claim(job.pk, "one"), "The hub does not answer.", "source")
    job.refresh_from_db()
    assert (job.state, job.error_field) == ("failed", "source")
    assert job.error == "The hub does not answer. It was tried 5 times."


def test_a_job_that_pauses_is_not_sent_before_it_is_due(sent):
    job = queued()
    job_execution.retry(job_execution.claim(job.pk, "one"), "Later.")
    Job.objects.update(sent=timezone.now() - timedelta(minutes=1))
    sent.clear()
    job_recovery.reap(["jobs"])
    assert sent == []
    due(job)
    job_recovery.reap(["jobs"])
    assert sent == [job.pk]


def test_a_job_that_was_to_be_cancelled_is_not_tried_again():
    job = queued()
    claimed = job_execution.claim(job.pk, "one")
    lifecycle.cancel(job.pk)
    job_execution.retry(claimed, "Later.")
    assert states(job) == ["cancelled"]


def test_a_job_that_pauses_can_be_cancelled():
    job = queued()
    job_execution.retry(job_execution.claim(job.pk, "one"), "Later.")
    assert lifecycle.cancel(job.pk)
    assert states(job) == ["cancelled"]


def test_the_most_urgent_job_of_the_queue_goes_first_and_the_other_is_sent_again(sent):
    usual, low, high = queued(), queued(), queued()
    other = lifecycle.create("add_model", {"slug": "x"}, queue="inference", priority=1)
    assert lifecycle.prioritise(low.pk, -1)
    assert lifecycle.prioritise(high.pk, 1, by="ada")
    sent.clear()
    assert job_execution.claim_next(usual.pk, "one").pk == high.pk
    assert sent == [usual.pk]
    assert job_execution.claim_next(low.pk, "two").pk == usual.pk
    assert job_execution.claim_next(low.pk, "three").pk == low.pk
    assert job_execution.claim_next(high.pk, "four") is None
    assert states(other) == ["queued"]


def test_one_that_began_keeps_its_priority():
    job = queued()
    job_execution.claim(job.pk, "one")
    assert not lifecycle.prioritise(job.pk, 1)


def test_who_did_what_is_kept():
    job = queued()
    lifecycle.prioritise(job.pk, 1, by="ada")
    lifecycle.cancel(job.pk, by="ben")
    assert [e.by for e in job.events.order_by("id")] == ["", "ada", "ben"]


def in_parts(n=3, after=None):
    whole = lifecycle.create("compute_dashboards", {"sae": "a/b"}, after=after, in_parts=True)
    return whole, [
        lifecycle.create("scan_shard", {"shard": i + 1}, after=after, part_of=whole)
        for i in range(n)
    ]


def test_a_job_in_parts_is_queued_by_the_last_of_them_and_by_no_other():
    whole, parts = in_parts()
    assert states(whole, *parts) == ["waiting", "queued", "queued", "queued"]
    for part in (parts[2], parts[0], parts[1]):
        assert states(whole) == ["waiting"]
        job_execution.finish(job_execution.claim(part.pk, "one"), {})
    assert states(whole, *parts) == ["queued", "finished", "finished", "finished"]
    assert [note for state, note in said(whole) if state == "queued"] == [
        "all of its parts finished"
    ]


@pytest.mark.django_db(transaction=True)
def test_of_two_last_parts_that_finish_at_once_one_queues_the_whole():
    for _ in range(5):
        whole, parts = in_parts(4)
        held = [job_execution.claim(part.pk, f"worker {n}") for n, part in enumerate(parts)]
        barrier = threading.Barrier(len(held))

        def finish(part, barrier=barrier):
            try:
                barrier.wait()
                job_execution.finish(part, {})
            finally:
                connection.close()

        threads = [threading.Thread(target=finish, args=(part,)) for part in held]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert states(whole) == ["queued"]
        assert [state for state, _ in said(whole) if state in Job.State.values] == [
            "waiting",
            "queued",
        ]


def test_a_part_that_fails_fails_the_whole_with_its_reason_and_ends_the_others():
    whole, (first, second, third) = in_parts()
    follower = queued(after=whole)
    running = job_execution.claim(second.pk, "two")
    job_execution.fail(job_execution.claim(first.pk, "one"), "no such text", "corpus")
    assert states(whole, follower, first, second, third) == [
        "failed",
        "cancelled",
        "failed",
        "running",
        "cancelled",
    ]
    whole.refresh_from_db()
    assert (whole.error_field, whole.error) == (
        "corpus",
        f"Its part, job {first.pk}, failed: no such text",
    )
    assert job_execution.renew_lease(running) is True
    job_execution.end_cancelled(running)
    assert states(whole, second) == ["failed", "cancelled"]


@pytest.mark.parametrize("which", ["the whole", "a part"])
def test_a_request_to_cancel_the_whole_or_a_part_ends_all_of_it(which):
    whole, (first, second, third) = in_parts()
    job_execution.finish(job_execution.claim(first.pk, "one"), {})
    running = job_execution.claim(second.pk, "two")
    assert lifecycle.cancel((whole if which == "the whole" else third).pk, by="ada")
    assert states(whole, first, third) == ["cancelled", "finished", "cancelled"]
    assert job_execution.renew_lease(running) is True
    job_execution.end_cancelled(running)
    assert states(second) == ["cancelled"]
    assert not lifecycle.cancel(first.pk)


def test_a_part_whose_worker_died_is_tried_again_and_in_the_end_fails_the_whole():
    whole, (first, second, _) = in_parts()
    for n in range(job_execution.MAX_ATTEMPTS):
        assert states(whole, first) == ["waiting", "queued"]
        assert job_execution.claim(first.pk, f"worker {n}")
        lease_passes(first)
        job_recovery.reap()
    assert states(whole, first, second) == ["failed", "failed", "cancelled"]
    whole.refresh_from_db()
    assert "crashed 5 times" in whole.error


def test_a_job_in_parts_that_waits_for_another_begins_with_its_parts():
    before = queued()
    whole, parts = in_parts(2, after=before)
    assert states(whole, *parts) == ["waiting"] * 3
    job_execution.finish(job_execution.claim(before.pk, "one"), {})
    assert states(whole, *parts) == ["waiting", "queued", "queued"]
    other = queued()
    whole, parts = in_parts(2, after=other)
    job_execution.fail(job_execution.claim(other.pk, "one"), "no")
    assert states(whole, *parts) == ["cancelled"] * 3


def test_the_whole_tells_what_its_parts_have_done_and_since_when():
    whole, parts = in_parts(4)
    first, second = (job_execution.claim(part.pk, "one") for part in parts[:2])
    job_execution.write_progress(first, Progress(30, 100, "tokens", "Reading the corpus"))
    job_execution.write_progress(second, Progress(10, 100, "tokens", "Reading the corpus"))
    whole.refresh_from_db()
    assert (whole.done, whole.total, whole.unit) == (40, 400, "tokens")
    assert whole.doing == "Reading the corpus: 2 of 4 parts running"
    began = Job.objects.get(pk=first.pk).started
    assert whole.started == began
    for part in (first, second, *(job_execution.claim(part.pk, "two") for part in parts[2:])):
        job_execution.finish(part, {})
    assert job_execution.claim(whole.pk, "three").started == began


def test_how_far_the_writing_is_can_only_be_kept_by_the_worker_that_has_the_job():
    job = job_execution.claim(queued().pk, "one")
    job_execution.store_written(job, {"7": 256})
    lease_passes(job)
    job_recovery.reap()
    again = job_execution.claim(job.pk, "two")
    assert again.written == {"7": 256}
    with pytest.raises(LostLease):
        job_execution.store_written(job, {"7": 512})
