"""The rings hold, torch stays with the workers, and the documents name what there is."""

import ast
import re
import subprocess
import sys

import pytest

from explorer.env import VARIABLES
from tests.conftest import COMPUTE, ROOT

RINGS = ("explorer", "features", "workers")
SOURCES = sorted(path for ring in RINGS for path in (ROOT / ring).rglob("*.py"))


def run(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_contracts_of_the_rings_are_kept():
    linter = (
        "from importlinter.cli import lint_imports_command as main; main(['--no-logo', "
        "'--no-cache'])"
    )
    assert " 0 broken" in run(linter)


def test_the_website_never_loads_torch():
    found = run(
        "import explorer.asgi, explorer.urls.root, sys; print({name.partition('.')[0] for name "
        "in sys.modules})"
    )
    assert "django" in found
    assert not COMPUTE & ast.literal_eval(found)


def test_a_worker_starts_without_torch_too():
    code = (
        "import django, explorer.asgi, sys, workers.tasks; print('torch' in sys.modules, "
        "'celery' in sys.modules)"
    )
    assert run(code) == "False True\n"


def test_the_website_keeps_connections_and_a_worker_opens_its_own():
    told = (
        "from django.conf import settings; print(settings.DATABASES['default'].get('OPTIONS', "
        "{}).get('pool', {}))"
    )
    assert "'max_size': 60" in run(f"import explorer.asgi; {told}")
    assert run(f"import explorer.celery; {told}") == "{}\n"


def test_the_pipeline_runs_in_a_notebook_without_django_or_celery():
    for path in sorted((ROOT / "workers" / "pipeline").glob("*.py")):
        names = {
            alias.name
            for node in ast.walk(ast.parse(path.read_text()))
            for alias in getattr(node, "names", [])
            if isinstance(alias, ast.alias)
        }
        modules = {
            getattr(node, "module", "") or "" for node in ast.walk(ast.parse(path.read_text()))
        }
        assert not {"django", "celery"} & {name.partition(".")[0] for name in names | modules}, path


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_says_what_it_is_for(path):
    if "migrations" not in path.parts:
        assert ast.get_docstring(ast.parse(path.read_text()))


def test_every_variable_that_the_settings_read_is_in_the_documentation():
    named = set(
        re.findall(r"^\| `(\w+)`", (ROOT / "docs" / "running.md").read_text(), re.MULTILINE)
    )
    assert named == set(VARIABLES)


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-web.lock"])
def test_the_locks_pin_versions_that_any_index_has(lock):
    lines = [
        line
        for line in (ROOT / lock).read_text().splitlines()
        if line and not line.lstrip().startswith("#")
    ]
    assert all(re.fullmatch(r"[a-z0-9_.-]+==[^+ ]+", line) for line in lines)
    assert ("torch==2.13.0" in lines) == (lock == "requirements.lock")


def test_the_web_lock_is_part_of_the_whole_lock():
    pins = [
        set(re.findall(r"^\S+==\S+", (ROOT / lock).read_text(), re.M))
        for lock in ("requirements-web.lock", "requirements.lock")
    ]
    assert pins[0] < pins[1]
