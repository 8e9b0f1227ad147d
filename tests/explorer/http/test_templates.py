"""Pages are sent without the indentation of their templates."""

from pathlib import Path

import pytest
from django.template import engines
from django.template.loader import get_template

from tests import builders


def test_the_first_loader_is_ours():
    partials = engines["django"].engine.template_loaders[0]
    assert type(partials.loaders[0].loaders[0]).__module__ == "explorer.http.templates"


def test_lines_keep_their_numbers():
    template = get_template("base.html")
    written = Path(template.origin.name).read_text()
    assert template.template.source.count("\n") == written.count("\n")


@pytest.mark.django_db
def test_rows_of_a_page_are_not_indented(client):
    builders.planted()
    page = client.get("/tiny/2-res/?alive=all").content.decode()
    table = page[page.index("<tbody") : page.index("</tbody>")]
    assert table.count("\n") > 10
    assert not [line for line in table.splitlines() if line.startswith(" ")]
