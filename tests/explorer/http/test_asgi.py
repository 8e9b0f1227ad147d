"""What `explorer.asgi` sets up for a fresh process, and the options of the server around it."""

import subprocess
import sys

import pytest

from explorer.management import children
from tests.conftest import ROOT

OPTIONS = ("--lifespan off", "--no-server-header")


def test_imports_are_frozen_and_collections_are_rare() -> None:
    code = (
        "import explorer.asgi, gc; print(gc.get_threshold(), gc.get_freeze_count() > 10_000,"
        " type(explorer.asgi.application).__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "(20000, 20, 20) True Handler\n", done.stderr


@pytest.mark.parametrize("option", OPTIONS)
def test_up_and_the_image_start_the_server_alike(option: str, tmp_path, settings) -> None:
    settings.VAR = tmp_path
    web = next(child for child in children.children() if child.name == "web")
    assert option in " ".join(web.command)
    image = (ROOT / "Dockerfile").read_text().replace('", "', " ").replace('", \\\n     "', " ")
    command = next(line for line in image.splitlines() if "explorer.asgi:application" in line)
    assert option in command
