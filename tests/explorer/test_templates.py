"""Templates, style sheets and scripts read as well as the Python does."""

import pytest

from tests.conftest import ROOT

FILES = sorted(
    path
    for folder, ending in (("templates", "html"), ("static/css", "css"), ("static/js", "js"))
    for path in (ROOT / folder).rglob(f"*.{ending}")
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_line_is_longer_than_100_columns(path):
    lines = path.read_text().splitlines()
    assert [f"{n}: {line}" for n, line in enumerate(lines, 1) if len(line) > 100] == []
