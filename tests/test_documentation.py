"""Every module has a docstring, and every environment variable is in the documentation."""

import ast
import re

import pytest

from explorer.env import VARIABLES
from tests.conftest import ROOT

RINGS = ("explorer", "features", "workers")
SOURCES = sorted(path for ring in RINGS for path in (ROOT / ring).rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_says_what_it_is_for(path):
    if "migrations" not in path.parts:
        assert ast.get_docstring(ast.parse(path.read_text()))


def test_every_variable_that_the_settings_read_is_in_the_documentation():
    named = set(
        re.findall(r"^\| `(\w+)`", (ROOT / "docs" / "running.md").read_text(), re.MULTILINE)
    )
    assert named == set(VARIABLES)
