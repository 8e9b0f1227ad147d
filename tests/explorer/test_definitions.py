"""Every number has one definition, on the page and in the docs."""

import re
from pathlib import Path

import pytest

from explorer.definitions import DEFINITIONS, GROUPS

ROOT = Path(__file__).resolve().parents[2]
DOCS = (ROOT / "docs" / "numbers.md").read_text()


def test_the_docs_list_exactly_the_numbers_of_the_pages():
    listed = re.findall(r"^- \*\*(.+)\*\* \(`(\w+)`\): (.+)$", DOCS, re.MULTILINE)
    assert listed == [(known.name, term, known.about) for term, known in DEFINITIONS.items()]


def test_the_docs_have_the_same_groups():
    assert re.findall(r"^## (.+)$", DOCS, re.MULTILINE) == list(GROUPS)


def test_the_docs_set_the_same_quantities_of_saebench_beside_ours():
    rows = re.findall(r"^\| (.+) \(`(\w+)`\) \| (.+) \|$", DOCS, re.MULTILINE)
    assert rows == [
        (known.name, term, known.saebench) for term, known in DEFINITIONS.items() if known.saebench
    ]
    assert len(rows) > 10


def test_definitions_are_sentences():
    for term, known in DEFINITIONS.items():
        assert known.about.endswith("."), term
        assert known.saebench == "" or known.saebench.endswith("."), term
        assert known.name[0].isupper(), term


def test_templates_name_only_known_terms():
    used = set()
    for template in (ROOT / "templates").rglob("*.html"):
        used |= set(re.findall(r'{% (?:fact|define|value_of|head) "(\w+)"', template.read_text()))
    assert used
    assert used <= set(DEFINITIONS)


@pytest.mark.django_db
def test_the_about_page_shows_all(client):
    page = client.get("/about/").content.decode()
    for term in DEFINITIONS:
        assert f'id="{term}"' in page
