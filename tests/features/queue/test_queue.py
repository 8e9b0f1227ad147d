"""The queue that jobs, steering runs and inference requests share, on rows of jobs."""

import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from features.jobs import lifecycle
from features.models import Job
from features.queue import claims, leases, messages, notifications
from features.queue.notifications import Channel

pytestmark = pytest.mark.django_db(transaction=True)
LEASE = timedelta(seconds=30)
QUEUED = Job.objects.filter(state="queued")


@pytest.fixture
def sent_tasks(monkeypatch):
    """Names, args and queues of the messages that went out."""
    tasks = []
    monkeypatch.setattr(
        messages.current_app,
        "send_task",
        lambda name, args, queue, retry: tasks.append((name, args, queue)),
    )
    return tasks


@pytest.fixture
def broker_down(monkeypatch):
    def refuse(*args, **kwargs):
        raise messages.BrokerDown

    monkeypatch.setattr(messages.current_app, "send_task", refuse)


def queued() -> Job:
    return lifecycle.create("add_model", {"slug": "x"})


def in_threads(*calls):
    """Run the calls at the same time, each on a connection of its own."""
    barrier = threading.Barrier(len(calls))

    def run(call):
        try:
            barrier.wait()
            call()
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_two_connections_claim_one_row_once(sent_tasks):
    job, claimed = queued(), []
    in_threads(
        *(lambda name=name: claimed.append(claims.claim(QUEUED, name, LEASE)) for name in "ab")
    )
    (winner,) = [row for row in claimed if row is not None]
    job.refresh_from_db()
    assert (job.state, job.attempts, job.worker) == ("running", 1, winner.worker)
    assert job.lease_until > timezone.now()


def test_workers_that_claim_at_once_get_different_rows(sent_tasks):
    jobs, claimed = [queued() for _ in range(4)], []
    in_threads(
        *(lambda name=name: claimed.append(claims.claim(QUEUED, name, LEASE)) for name in "abcd")
    )
    assert {row.pk for row in claimed} == {job.pk for job in jobs}
    assert claims.claim(QUEUED, "e", LEASE) is None


def test_a_row_that_another_transaction_has_locked_is_passed_over(sent_tasks):
    first, second, claimed = queued(), queued(), []
    in_order = QUEUED.order_by("pk")
    locked, done = threading.Event(), threading.Event()

    def hold_first():
        with claims.transaction.atomic():
            Job.objects.select_for_update().get(pk=first.pk)
            locked.set()
            done.wait(10)

    def claim():
        locked.wait(10)
        claimed.append(claims.claim(in_order, "a", LEASE))
        done.set()

    in_threads(hold_first, claim)
    assert claimed[0].pk == second.pk


@pytest.mark.parametrize(
    "change",
    [{"worker": "other"}, {"attempts": 2}, {"state": "queued", "lease_until": None}],
    ids=["another worker", "another attempt", "queued again"],
)
def test_a_worker_that_lost_its_lease_writes_nothing(sent_tasks, change):
    queued()
    job = claims.claim(QUEUED, "one", LEASE)
    Job.objects.update(**change)
    for write in (
        lambda: claims.hold(job, checkpoint="late"),
        lambda: claims.end(job, "finished"),
        lambda: leases.renew(job, LEASE),
    ):
        with pytest.raises(claims.LostLease, match="no longer belongs to one"):
            write()
    assert Job.objects.get().checkpoint == ""


def test_a_lease_ends_unless_it_is_renewed(sent_tasks):
    queued()
    job = claims.claim(QUEUED, "one", -LEASE)
    assert list(leases.expired(Job.objects.all())) == [job]
    leases.renew(job, LEASE)
    assert not leases.expired(Job.objects.all()).exists()


def test_ended_and_requeued_rows_have_no_lease(sent_tasks):
    queued()
    job = claims.claim(QUEUED, "one", LEASE)
    assert claims.requeue(claims.held(job)) == 1
    job.refresh_from_db()
    assert (job.state, job.worker, job.lease_until, job.ended) == ("queued", "", None, None)
    job = claims.claim(QUEUED, "two", LEASE)
    claims.end(job, "finished")
    job.refresh_from_db()
    assert (job.state, job.lease_until) == ("finished", None)
    assert job.ended is not None


def test_a_message_is_sent_after_the_commit_and_again_after_a_while(sent_tasks):
    with claims.transaction.atomic():
        job = queued()
        assert sent_tasks == []
    assert sent_tasks == [("workers.run_job", [job.pk], "jobs")]
    assert not leases.unsent(QUEUED).exists()
    Job.objects.update(sent=timezone.now() - 2 * leases.UNSENT_AFTER)
    assert list(leases.unsent(QUEUED)) == [job]


def test_a_broker_that_is_down_loses_nothing(broker_down):
    job = queued()
    job.refresh_from_db()
    assert job.sent is None
    assert list(leases.unsent(QUEUED)) == [job]
    assert messages.send_now(QUEUED, "task", "jobs") is False


def test_a_notification_wakes_who_waits(monkeypatch, sent_tasks):
    monkeypatch.setattr(notifications, "LOOK_SECONDS", 30.0)
    job, looks, results = queued(), [], []
    looked = threading.Event()

    def state():
        looks.append(Job.objects.get(pk=job.pk).state)
        looked.set()
        return looks[-1] if looks[-1] == "running" else None

    def wait():
        results.append(notifications.wait_for(Channel.JOB, job.pk, state, 20.0))

    def change():
        looked.wait(10)
        notifications.notify(Channel.JOB, job.pk + 1)  # of another row
        claims.claim(QUEUED, "one", LEASE)
        notifications.notify(Channel.JOB, job.pk)

    began = timezone.now()
    in_threads(wait, change)
    assert (looks, results) == (["queued", "running"], ["running"])
    assert timezone.now() - began < timedelta(seconds=10)


def test_waiting_ends_without_a_change():
    assert notifications.wait_for(Channel.JOB, 1, lambda: None, 0.1) is None
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_listening_channels()")
        assert cursor.fetchone() == (0,)
