"""The embedded PostgreSQL as real processes: shared by those who use it, gone when nobody does, up
again after any crash.
"""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import psycopg
import pytest

from explorer.local import database as local_database
from explorer.local import host
from tests.conftest import ROOT
from tests.e2e.instance import wait_for

USE = (
    "import sys; from pathlib import Path; from explorer.local import database; "
    "database.ensure(Path(sys.argv[1])); print('up')"
)
HOLD = f"{USE}; sys.stdout.flush(); sys.stdin.read()"


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A data folder as the first start leaves it, made once for all tests here."""
    var = tmp_path_factory.mktemp("template")
    _open_to_others(var)
    assert use(var) == "up\n"
    gone(var)
    return var


@pytest.fixture
def var(template):
    """A stopped data folder of one's own."""
    folder = Path(tempfile.mkdtemp(prefix="featurescope-embedded-"))
    _open_to_others(folder)
    subprocess.run(
        ["cp", "-a", f"{template}/.", str(folder)], check=True
    )  # keeps the owner, which copytree does not
    yield folder
    for process in servers(folder):
        process.kill()
    shutil.rmtree(folder, ignore_errors=True)


def _open_to_others(folder: Path) -> None:
    for parent in [folder, *folder.parents]:
        if parent.stat().st_uid == os.getuid():
            parent.chmod(stat.S_IMODE(parent.stat().st_mode) | 0o001)


def use(var: Path) -> str:
    """Use the database in a process that ends at once; what that process prints."""
    done = subprocess.run(
        [sys.executable, "-c", USE, str(var)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    return done.stdout + done.stderr.replace("\n", " ")[-500:] if done.returncode else done.stdout


def hold(var: Path) -> subprocess.Popen:
    """A process that uses the database until its input is closed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(var)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "up\n"
    return process


def servers(var: Path) -> list[psutil.Process]:
    """Keeper and postmaster of this folder."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if set(process.info["cmdline"] or []) & {str(var), str(local_database.data_folder(var))}
        and {"explorer.local.keeper", "-D"} & set(process.info["cmdline"])
    ]


def gone(var: Path) -> None:
    wait_for(lambda: not servers(var), 10, "the server's end")


def postmaster(var: Path) -> psutil.Process:
    return next(process for process in servers(var) if "-D" in process.cmdline())


def ask(var: Path, query: str) -> object:
    at = local_database.database(var)
    with psycopg.connect(
        host=at["HOST"], port=at["PORT"], user=at["USER"], dbname=at["NAME"]
    ) as connection:
        return connection.execute(query).fetchone()[0]


def test_the_database_has_vectors_and_sorts_and_folds_every_script(var):
    with hold(var):
        assert ask(var, "SELECT '[1,2]'::vector <-> '[1,2]'::vector") == 0
        assert ask(var, "SELECT upper('naïve œuvre')") == "NAÏVE ŒUVRE"
    gone(var)


def test_it_keeps_what_it_read_in_a_quarter_of_the_memory(var):
    with hold(var):
        kept = int(
            ask(var, "SELECT setting::bigint * 8192 FROM pg_settings WHERE name = 'shared_buffers'")
        )
    gone(var)
    assert kept == pytest.approx(min(4 << 30, psutil.virtual_memory().total // 4), rel=0.001)


@pytest.mark.parametrize(
    ("said", "most"), [("4294967296\n", 1 << 30), ("max\n", 4 << 30), ("1000000\n", 128 << 20)]
)
def test_a_containers_limit_counts_as_its_memory(tmp_path, monkeypatch, said, most):
    (tmp_path / "memory.max").write_text(said)
    monkeypatch.setattr(host, "LIMITS", [tmp_path / "memory.max", tmp_path / "not there"])
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=1 << 40))
    assert host.shared_buffers() == most


def test_it_runs_for_as_long_as_anybody_uses_it(var):
    first, second = hold(var), hold(var)
    assert len(servers(var)) == 2
    first.communicate()
    time.sleep(0.5)
    assert ask(var, "SELECT 1") == 1
    second.communicate()
    gone(var)


def test_a_user_that_is_killed_counts_no_longer(var):
    process = hold(var)
    process.kill()
    process.communicate()
    gone(var)


def test_one_that_comes_while_it_stops_waits_and_starts_it_again(var):
    for _ in range(3):
        assert use(var) == "up\n"
    gone(var)


def test_a_server_that_is_killed_is_started_again(var):
    with hold(var):
        before = postmaster(var)
        before.kill()
        before.wait(5)

        def answers() -> bool:
            try:
                return ask(var, "SELECT 1") == 1
            except psycopg.OperationalError:
                return False

        wait_for(answers, 20, "a new server")
    gone(var)


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells a child of its parent's death"
)
def test_a_killed_keeper_takes_the_server_with_it_and_the_next_user_starts_both(var):
    with hold(var):
        keeper = next(
            process for process in servers(var) if "explorer.local.keeper" in process.cmdline()
        )
        keeper.kill()
        gone(var)
        assert use(var) == "up\n"
        assert ask(var, "SELECT 1") == 1  # for the one that still holds it
    gone(var)


@pytest.mark.parametrize(
    "remnant",
    [
        "",
        "1\n",
        pytest.param(f"{os.getpid()}\n/elsewhere\n", id="a process elsewhere"),
        "no number",
    ],
)
def test_a_pid_file_that_a_crash_left_stops_nobody(var, remnant):
    pid_file = local_database.data_folder(var) / "postmaster.pid"
    pid_file.write_text(remnant)
    pid_file.chmod(0o644)
    assert use(var) == "up\n"
    gone(var)


def test_a_folder_that_initdb_did_not_finish_is_made_anew(var):
    shutil.rmtree(local_database.data_folder(var))
    half = var / "postgres.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("18")
    assert use(var) == "up\n"
    gone(var)


def test_data_of_an_unknown_version_is_refused_in_one_sentence(var):
    (local_database.data_folder(var) / "PG_VERSION").write_text("9\n")
    assert "was made by PostgreSQL 9; installed are" in use(var)


def test_a_server_that_cannot_start_says_why_and_where_to_look(var):
    (local_database.data_folder(var) / "postgresql.conf").write_text("no_such_setting = 1\n")
    said = use(var)
    assert "the database did not start" in said
    assert "contains errors" in said
    assert "postgres.log" in said
    gone(var)


def test_a_deep_folder_gets_a_short_socket_that_no_other_user_can_open(var):
    deep = var / ("d" * 100)
    deep.mkdir()
    with hold(deep):
        socket = local_database.socket_folder(deep)
        assert len(f"{socket}/.s.PGSQL.5432") < 104
        assert stat.S_IMODE(socket.stat().st_mode) == 0o700
        assert ask(deep, "SELECT 1") == 1
    gone(deep)
    shutil.rmtree(socket)


def test_only_the_owner_can_pass_to_the_socket(var):
    with hold(var):
        assert stat.S_IMODE(local_database.socket_folder(var).stat().st_mode) == 0o700
        assert ask(var, "SHOW listen_addresses") == ""
    gone(var)


def test_a_terminated_keeper_shuts_the_server_down_cleanly(var):
    with hold(var):
        next(
            process for process in servers(var) if "explorer.local.keeper" in process.cmdline()
        ).send_signal(signal.SIGTERM)
        gone(var)
    assert (
        "database system is shut down"
        in (var / "logs" / "postgres.log").read_text().splitlines()[-1]
    )
