"""The pattern page shows every component."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def page(client, db):
    return client.get("/pattern/").content.decode()


PARTS = [
    *(
        "bar",
        "crumbs",
        "evidence",
        "messages",
        "facts",
        "settings",
        "plot",
        "spark",
        "logits",
        "neighbours",
        "segmented",
        "band",
    ),
    *(
        "example",
        "examples-stacked",
        "progress",
        "form-fields",
        "errorlist",
        "primary",
        "code-block",
        "empty",
        "foot",
    ),
]


@pytest.mark.parametrize(
    "part", [*PARTS, "status running", "status queued", "status finished", "status failed"]
)
def test_the_pattern_page_shows(page, part):
    assert re.search(rf'class="{part}[" ]', page)


def test_the_pattern_page_needs_no_rows(client, db, django_assert_max_num_queries):
    with django_assert_max_num_queries(0):
        assert client.get("/pattern/").status_code == 200


def test_stylesheets_ask_nobody_for_anything():
    for sheet in (ROOT / "static" / "css").glob("*.css"):
        assert not re.search(r"@import|url\(|https?:", sheet.read_text()), sheet.name
