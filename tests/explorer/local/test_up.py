"""`manage.py up` as a person meets it: real processes on a real port, and nothing left of them
afterwards.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress

import psutil
import pytest

from explorer.local import preflight
from explorer.local.supervisor import Child, Supervisor
from explorer.management.children import NICE, children
from tests.conftest import ROOT
from tests.e2e.instance import Instance, free_port, wait_for


@pytest.fixture(scope="module")
def up():
    """The first start on an empty folder."""
    running = Instance(FEATURESCOPE_DEMO="0")
    yield running
    if running.process.poll() is None:
        running.stop()
    shutil.rmtree(running.folder, ignore_errors=True)


def refused(var, **environment) -> str:
    """What a start says that must not succeed."""
    done = subprocess.run(
        [sys.executable, "manage.py", "up"],
        cwd=ROOT,
        env=os.environ | {"FEATURESCOPE_VAR": str(var), **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    return done.stderr.strip().removeprefix("CommandError: ")


def fetch(url: str, **headers: str):
    return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20)


def test_it_serves_health_and_static_files_and_names_its_address(up):
    assert up.url in up.output.read_text()
    assert fetch(f"{up.url}/healthz").read() == b'{"database": "ok"}'
    with fetch(f"{up.url}/static/admin/css/base.css") as sheet:
        assert sheet.headers["Content-Type"].startswith("text/css")
        assert len(sheet.read()) == int(sheet.headers["Content-Length"]) > 1000
        tag = sheet.headers["ETag"] or sheet.headers["Last-Modified"]
    name = "If-None-Match" if tag.startswith('"') else "If-Modified-Since"
    with pytest.raises(urllib.error.HTTPError, match="304"):
        fetch(f"{up.url}/static/admin/css/base.css", **{name: tag})
    assert "Warning" not in (up.var / "logs" / "web.log").read_text()


def test_the_first_admins_password_is_printed_once_and_kept_as_a_hash(up):
    (row,) = up.rows("SELECT username, password, is_superuser FROM explorer_user")
    assert row["username"] == "admin"
    assert row["is_superuser"]
    assert up.password not in row["password"]


def test_it_listens_on_loopback_only(up):
    web = next(process for process in up.processes() if "uvicorn" in process.cmdline())
    assert {
        connection.laddr.ip for connection in web.net_connections() if connection.status == "LISTEN"
    } == {"127.0.0.1"}


def test_a_second_start_on_the_same_data_is_refused(up):
    said = refused(up.var, PORT=str(free_port()))
    assert said == (
        f"Featurescope already runs on {up.var} (process {up.process.pid}): "
        "stop it, or set FEATURESCOPE_VAR to another folder."
    )


def test_a_killed_worker_is_started_again_and_that_is_said(up):
    def worker() -> psutil.Process | None:
        for process in up.processes():
            with suppress(psutil.ZombieProcess, psutil.NoSuchProcess):  # the one that was killed
                if {"celery", "jobs"} <= set(process.cmdline()):
                    return process
        return None

    before = wait_for(worker, 20, "the worker")
    before.kill()
    after = wait_for(
        lambda: (now := worker()) and now.pid != before.pid and now, 30, "another worker"
    )
    assert after.is_running()
    assert re.search(
        r"worker-jobs was killed by SIGKILL; starting it again in [01] s\.", up.output.read_text()
    )


def test_a_command_beside_it_leaves_the_database_running(up):
    assert "[X] 0001_initial" in up.manage("showmigrations", "explorer")
    time.sleep(0.5)
    assert up.rows("SELECT 1 AS one") == [{"one": 1}]


def test_ctrl_c_leaves_no_process_and_the_next_start_is_quick_and_keeps_everything(up):
    up.stop(keep=True)
    assert up.process.returncode == 0
    assert up.output.read_text().endswith("Stopped.\n")
    assert up.processes() == []
    up.start()
    text = up.output.read_text()
    took = float(re.search(r"ready in ([\d.]+) s", text)[1])
    assert took < 10 or os.getloadavg()[0] > 2 * (os.cpu_count() or 1), f"{took} s"
    assert "password" not in text
    assert (up.var / "logs" / "web.log.1").exists()


def test_a_kill_of_the_parent_leaves_no_child_and_the_next_start_works(up):
    up.process.kill()
    up.process.wait()
    wait_for(lambda: not up.processes(), 20, "the end of every child")
    up.start()
    up.stop(keep=True)
    assert up.processes() == []


def test_a_port_in_use_is_one_sentence_and_starts_nothing(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = refused(tmp_path, PORT=str(port))
    assert said.startswith(
        f"Port {port} on 127.0.0.1 is in use: stop what listens there, or choose another, as in "
        "PORT="
    )
    assert not (tmp_path / "postgres").exists()


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"PORT": "eighty"}, "PORT must be a whole number from 1 to 65535, not “eighty”."),
        (
            {"FEATURESCOPE_HOST": "no.such.host.invalid"},
            "FEATURESCOPE_HOST=no.such.host.invalid is no address",
        ),
        (
            {"DATABASE_URL": "mysql://localhost/x"},
            "DATABASE_URL must begin with one of postgres://, postgresql://.",
        ),
        ({"DATABASE_URL": "postgresql://127.0.0.1:1/x"}, "Cannot use the database: "),
        (
            {"CELERY_BROKER_URL": "carrier-pigeon://roof"},
            "CELERY_BROKER_URL must begin with one of ",
        ),
    ],
)
def test_a_setting_that_cannot_work_is_one_sentence(tmp_path, variables, said):
    assert said in refused(tmp_path, **{"PORT": str(free_port())} | variables)


def test_a_file_in_place_of_the_data_folder_is_one_sentence(tmp_path):
    (tmp_path / "var").write_text("")
    assert "FEATURESCOPE_VAR to a writable folder" in refused(
        tmp_path / "var", PORT=str(free_port())
    )


def test_a_disk_that_is_nearly_full_is_refused(tmp_path):
    with pytest.raises(
        preflight.NotReady, match=r"^Only [\d,]+ MiB are free for .* are needed: free some space"
    ):
        preflight.disk_has_room(tmp_path, least=1 << 60)


def _child(tmp_path, name: str, code: str) -> Child:
    return Child(name, [sys.executable, "-c", code], ROOT, tmp_path)


def test_the_pause_before_a_restart_doubles_while_a_child_keeps_dying(tmp_path):
    said: list[str] = []
    child = _child(tmp_path, "fool", "import sys; sys.exit('it hurts')")
    supervisor = Supervisor([child], said.append)
    supervisor.start()
    try:

        def died_twice() -> bool:
            supervisor.restart_dead()
            return len(said) == 2

        wait_for(died_twice, 30, "two deaths")
    finally:
        supervisor.stop()
    assert "fool ended with code 1; starting it again in 1 s." in said[0]
    assert "it hurts" in said[0]
    assert "starting it again in 2 s." in said[1]


def test_a_child_that_does_not_listen_is_killed_after_the_grace(tmp_path):
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', "
        "flush=True); time.sleep(60)"
    )
    child = _child(tmp_path, "deaf", deaf)
    supervisor = Supervisor([child], print)
    supervisor.start()
    wait_for(lambda: "deaf" in child.last_lines(), 20, "its first word")
    supervisor.stop(grace=0.3)
    assert child.ended() == -signal.SIGKILL


def test_a_nice_child_lets_its_parent_and_siblings_go_first(tmp_path):
    child = Child(
        "kind", [sys.executable, "-c", "import time; time.sleep(60)"], ROOT, tmp_path, nice=3
    )
    supervisor = Supervisor([child], print)
    supervisor.start()
    try:
        assert psutil.Process(child.process.pid).nice() == psutil.Process().nice() + 3
    finally:
        supervisor.stop(grace=0.3)
    assert [each.nice for each in children()] == [0, 0, NICE]
