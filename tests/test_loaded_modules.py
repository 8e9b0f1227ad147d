"""What a process has loaded when it starts: the web process never imports torch."""

import ast
import subprocess
import sys

from tests.conftest import COMPUTE, ROOT


def run(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


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
