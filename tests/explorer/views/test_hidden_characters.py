"""Features on tokens that cannot be seen: on every page each has a name of its own."""

import pytest
from selectolax.lexbor import LexborHTMLParser

from features.records import LabelRecord, TokenRecord
from features.services import labels as label_services
from tests import builders

UNSEEN = {
    "\u200b": "U+200B",
    "\u00ad": "U+00AD",
    "\ufeff": "U+FEFF",
    "\u200d": "U+200D",
    "\u202b": "U+202B",
    "\u0007": "U+0007",
    "\0": "U+0000",
}
NAMES = list(UNSEEN.values())

pytestmark = pytest.mark.django_db


@pytest.fixture
def sae():
    """An SAE with a feature on each of the characters, which each promotes the others too."""
    tokens = builders.vocabulary()
    first = tokens[-1].token_id + 1
    unseen = [
        TokenRecord(first + place, character.encode(), False)
        for place, character in enumerate(UNSEEN)
    ]
    model = builders.model(tokens=[*tokens, *unseen])
    corpus = builders.corpus()
    row = builders.sae(model, trained_on=corpus)
    contexts = builders.sequences([f" One day{character} a fox ran." for character in UNSEEN])
    ids = [token.token_id for token in unseen]
    records = [
        builders.firing(place, character, contexts)._replace(
            top_logit_ids=[ids[place], *ids[:place], *ids[place + 1 :], 257, 258, 259]
        )
        for place, character in enumerate(UNSEEN)
    ]
    builders.dashboards(row, corpus, records, contexts)
    return row


def page(client, url) -> LexborHTMLParser:
    answer = client.get(url)
    assert answer.status_code == 200
    html = answer.content.decode()
    assert not any(character in html for character in UNSEEN)
    return LexborHTMLParser(html)


@pytest.mark.parametrize("index", range(len(UNSEEN)))
def test_a_feature_s_page_names_the_character(client, sae, index):
    html = page(client, f"{sae.get_absolute_url()}{index}/")
    name = NAMES[index]
    assert f"Fires on “{name}”" in " ".join(html.css_first("h1").text().split())
    assert f"“{name}”" in html.css_first("title").text()
    assert html.css_first(".tokens abbr").text() == name
    assert f"promotes “{name}”" in html.css_first(".evidence").text()
    assert html.css_first(".logits a").text() == name


def test_a_name_finds_its_token_and_the_feature(client, sae):
    for index, name in enumerate(NAMES):
        html = page(client, f"/search/?model={sae.model.slug}&token={name.replace('+', '%2B')}")
        assert html.css_first("#results .badge b").text() == name
        assert f"/{index}/" in html.css_first("section[aria-label*='promote']").html


def test_the_link_of_a_promoted_token_finds_it(client, sae):
    html = page(client, f"{sae.get_absolute_url()}0/")
    for link in html.css(".logits .up a")[: len(UNSEEN)]:
        found = page(client, link.attributes["href"])
        assert found.css_first("#results .badge b").text() == link.text()


def test_lists_show_names_and_labels_keep_them(client, sae):
    html = page(client, sae.get_absolute_url())
    assert {node.text() for node in html.css(".tokens abbr")} == set(NAMES)
    labels = [LabelRecord(index, f"`{name}`", {}, []) for index, name in enumerate(NAMES)]
    nothing = [LabelRecord(0, "\u200b\u202e", {}, [])]
    assert label_services.write_found(sae, "concept", [*labels, *nothing], None) == len(NAMES)
    html = page(client, "/search/?q=U%2B200B")
    assert "`U+200B`" in html.css_first("main").text()
