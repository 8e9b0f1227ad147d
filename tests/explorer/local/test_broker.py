"""The broker of files under several processes at once."""

import multiprocessing
import os
import time

import pytest
from celery import Celery
from kombu import Connection, Queue

from explorer.local import broker


@pytest.fixture
def connection(tmp_path):
    settings = broker.celery_settings(tmp_path)
    with Connection(
        settings["broker_url"], transport_options=settings["broker_transport_options"]
    ) as connected:
        yield connected


def test_messages_come_in_the_order_they_were_sent_each_once(connection):
    queue = connection.SimpleQueue("jobs")
    for number in range(5):
        queue.put({"number": number})
    assert [queue.get(timeout=5).payload["number"] for _ in range(5)] == list(range(5))
    with pytest.raises(queue.Empty):
        queue.get_nowait()


def test_queues_do_not_mix(connection):
    jobs, inference = connection.SimpleQueue("jobs"), connection.SimpleQueue("inference")
    jobs.put({"for": "jobs"})
    with pytest.raises(inference.Empty):
        inference.get_nowait()
    assert jobs.get(timeout=5).payload == {"for": "jobs"}


def test_a_message_that_is_being_written_is_not_seen(connection, tmp_path):
    queue = connection.SimpleQueue("jobs")
    (tmp_path / "messages" / "00000000000000000001_x.draft").write_text('{"half":')
    with pytest.raises(queue.Empty):
        queue.get_nowait()


def test_what_was_read_leaves_no_file_behind(connection, tmp_path):
    queue = connection.SimpleQueue("jobs")
    queue.put({})
    queue.get(timeout=5).ack()
    assert not os.listdir(tmp_path / "messages")
    assert not os.listdir(tmp_path / "processed")


def test_emptying_forgets_messages_and_broken_tables(connection, tmp_path):
    connection.SimpleQueue("jobs").put({})
    (tmp_path / "control" / "jobs.exchange").write_text("[[")
    broker.clear(tmp_path)
    assert not os.listdir(tmp_path / "messages")
    assert not os.listdir(tmp_path / "control")


def _bind_and_read(folder, start, failures):
    settings = broker.celery_settings(folder)
    start.wait()
    try:
        with Connection(
            settings["broker_url"], transport_options=settings["broker_transport_options"]
        ) as connected:
            for number in range(40):
                Queue(f"queue-{os.getpid()}-{number}", exchange="shared", routing_key=str(number))(
                    connected.default_channel
                ).declare()
                connected.default_channel.get_table("shared")
    except Exception as error:
        failures.put(repr(error))


def test_processes_that_declare_queues_at_once_all_find_them(tmp_path):
    context = multiprocessing.get_context("fork")
    start, failures = context.Event(), context.Queue()
    processes = [
        context.Process(target=_bind_and_read, args=(tmp_path, start, failures)) for _ in range(3)
    ]
    for process in processes:
        process.start()
    start.set()
    for process in processes:
        process.join(60)
    assert failures.empty(), failures.get()
    settings = broker.celery_settings(tmp_path)
    with Connection(
        settings["broker_url"], transport_options=settings["broker_transport_options"]
    ) as connected:
        assert len(connected.default_channel.get_table("shared")) == 120


def test_celery_speaks_it(tmp_path):
    app = Celery("test", set_as_current=False)
    app.conf.update(broker.celery_settings(tmp_path) | {"task_default_queue": "jobs"})
    before = time.time_ns()
    app.send_task("workers.run_job", args=[7], queue="jobs")
    (name,) = os.listdir(tmp_path / "messages")
    assert name.endswith(".jobs.msg")
    assert before <= int(name[:20]) <= time.time_ns()
