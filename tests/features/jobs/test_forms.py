"""Job forms: everything about a kind of job is in the file of its form."""

import ast
import inspect
from pathlib import Path

import pytest

from features.jobs.forms import ALL_FORMS
from tests.conftest import ROOT

FORMS = ROOT / "features" / "jobs" / "forms"
EXAMPLES = ROOT / "explorer" / "api" / "v1" / "examples.py"
"""Requests and answers that the API's documentation shows."""


def strings(path: Path) -> set[str]:
    """The string constants of a module."""
    nodes = ast.walk(ast.parse(path.read_text()))
    values = {node.value for node in nodes if isinstance(node, ast.Constant)}
    return {value for value in values if isinstance(value, str)}


@pytest.mark.parametrize("kind", ALL_FORMS)
def test_the_form_of_a_kind_is_in_a_file_of_that_name(kind):
    assert Path(inspect.getfile(ALL_FORMS[kind])) == FORMS / f"{kind}.py"
    assert [
        form for form in ALL_FORMS.values() if form.__module__ == ALL_FORMS[kind].__module__
    ] == [ALL_FORMS[kind]]


def test_only_forms_name_kinds():
    sources = [
        path for ring in ("explorer", "features", "workers") for path in (ROOT / ring).rglob("*.py")
    ]
    naming = {
        str(path.relative_to(ROOT)): sorted(strings(path) & set(ALL_FORMS))
        for path in sources
        if FORMS not in path.parents and path != EXAMPLES
    }
    assert {path: kinds for path, kinds in naming.items() if kinds} == {}
