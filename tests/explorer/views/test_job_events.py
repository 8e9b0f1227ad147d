"""The event stream of a job from a real server: a change elsewhere arrives at once, and who leaves
is forgotten.
"""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from django.conf import settings
from django.db import connection

from features.jobs import events as job_events
from features.jobs import execution as job_execution
from features.jobs import lifecycle
from features.models import Job
from features.records import Progress
from tests.conftest import ROOT

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def server(transactional_db, tmp_path):
    """A uvicorn process on this test's database; its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    at = connection.get_connection_params()
    address = f"postgresql:///{at['dbname']}?host={at['host']}&port={at['port']}&user={at['user']}"
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "tests.explorer.event_stream:application",
        "--port",
        str(port),
    ]
    environment = os.environ | {"DATABASE_URL": address, "FEATURESCOPE_VAR": str(settings.VAR)}
    with (tmp_path / "log").open("w+") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        try:
            eventually(lambda: get(port, "/healthz")[0] == 200, seconds=60)
            yield port
        finally:
            process.terminate()
            process.wait(10)
        log.seek(0)
        assert "Traceback" not in log.read()


def get(port, path):
    try:
        asked = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        asked.request("GET", path)
        answer = asked.getresponse()
        return answer.status, answer.read()
    except OSError:
        return 0, b""


def eventually(holds, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.05)


@contextmanager
def stream(port, job):
    """The answer's lines, one by one."""
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    asked.request("GET", f"/jobs/{job.pk}/events/", headers={"Accept": "text/event-stream"})
    answer = asked.getresponse()
    try:
        yield answer
    finally:
        asked.sock and asked.sock.close()
        answer.close()
        asked.close()


def next_event(answer):
    """The name of the next event; comments are passed over, the end is empty."""
    for line in answer:
        if line.startswith(b"event: "):
            return line[7:].strip().decode()
    return ""


def elsewhere(code):
    """Run a line in a process of its own, as a worker would; when it was committed, by the wall
    clock.
    """
    script = (
        "import django; django.setup(); from features.jobs import events; "
        f"from features.models import Job; {code}"
    )
    at = connection.get_connection_params()
    address = f"postgresql:///{at['dbname']}?host={at['host']}&port={at['port']}&user={at['user']}"
    script += "; import time; print(time.time())"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": address},
        capture_output=True,
        check=True,
    )
    return float(done.stdout)


def inside(port):
    return json.loads(get(port, "/_watching")[1])


def listening():
    """How many connections to the database listen; those that requests are given from a pool do
    not.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query "
            "LIKE 'LISTEN %'"
            " AND pid <> pg_backend_pid()"
        )
        return cursor.fetchone()[0]


def test_a_change_in_another_process_arrives_within_a_second(server):
    job = job_execution.claim(lifecycle.create("add_model", {}).pk, "one")
    with stream(server, job) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Accel-Buffering"] == "no"
        assert next_event(answer) == "changed"
        eventually(lambda: listening() == 1)  # it listens
        with ThreadPoolExecutor(1) as pool:
            arrived = pool.submit(lambda: (next_event(answer), time.time()))
            written = elsewhere(f"events.log({job.pk}, 'News.')")
            event, at = arrived.result(30)
        assert event == "changed"
        assert at - written < 1


def test_many_changes_at_once_are_told_at_most_twice_a_second_and_the_end_closes_the_stream(server):
    job = job_execution.claim(lifecycle.create("add_model", {}).pk, "one")
    with stream(server, job) as answer:
        assert next_event(answer) == "changed"
        eventually(lambda: inside(server)["watchers"] == 1)
        began = time.monotonic()
        for n in range(200):
            job_execution.write_progress(job, Progress(n, 200, "steps", ""))
        job_execution.finish(job, {})
        took = time.monotonic() - began
        events = []
        while event := next_event(answer):
            events.append(event)
        assert events[-2:] == ["changed", "over"]
        assert len(events) - 1 <= 2 + took / 0.5
    eventually(lambda: inside(server)["watchers"] == 0)


def test_watchers_share_one_connection_and_one_that_leaves_is_forgotten_with_its_task(server):
    job = job_execution.claim(lifecycle.create("add_model", {}).pk, "one")
    with stream(server, job) as first:
        next_event(first)
        eventually(lambda: listening() == 1)
        alone = inside(server)
    with stream(server, job) as a, stream(server, job) as b, stream(server, job) as c:
        for answer in (a, b, c):
            assert next_event(answer) == "changed"
        eventually(lambda: inside(server)["watchers"] == 3)
        assert inside(server)["jobs"] == 1
        eventually(lambda: listening() == 1)  # the LISTEN, which all share
    eventually(lambda: inside(server)["watchers"] == 0)
    eventually(lambda: inside(server)["tasks"] < alone["tasks"])
    job_events.log(job.pk, "Nobody listens.")
    assert get(server, "/healthz")[0] == 200


def test_a_job_that_is_over_says_so_at_once_and_one_that_is_not_there_is_a_404(server):
    job = lifecycle.create("add_model", {})
    lifecycle.cancel(job.pk)
    with stream(server, job) as answer:
        assert [next_event(answer), next_event(answer), next_event(answer)] == [
            "changed",
            "over",
            "",
        ]
    assert get(server, f"/jobs/{job.pk + 1}/events/")[0] == 404
    assert Job.objects.count() == 1
