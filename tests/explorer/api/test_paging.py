"""Page and API cannot disagree: every number and token on a feature's page is the one that the API
gives.
"""

import html
import re

import pytest

from explorer.definitions import DEFINITIONS
from explorer.definitions.formats import format_value, number, share, signed
from features.token_spans import visible
from tests import builders
from tests.explorer.layout import collapsed
from tests.page import Page

pytestmark = pytest.mark.django_db


def text(fragment):
    """What a reader sees of some HTML, blanks and line-end signs left out."""
    return re.sub(r"[\s↵␣]", "", html.unescape(re.sub(r"<[^>]*>", "", fragment)))


def find(pattern, source):
    return re.findall(pattern, source, re.DOTALL)


@pytest.fixture(params=[0, 1, 2, 3, 7])
def both(request, client):
    """The page of a planted feature in full width, and the API's answer for it; feature
    3 is dead.
    """
    builders.planted()
    page = client.get(f"/tiny/2-res/{request.param}/?width=full")
    answer = client.get(f"/api/v1/features/tiny/2-res/{request.param}/")
    assert page.status_code == answer.status_code == 200
    page.content = collapsed(page.content.decode()).encode()
    return Page(page), answer.json()


def section(page, heading):
    """The sections of the page under that heading: one, or none."""
    return [
        one for one in page.all("section") if one.all("h2")[:1] and heading in one.all("h2")[0].text
    ]


def neighbours(section):
    """Index, score and number of shared tokens of each row."""
    return [
        [link.text for link in section.all(".neighbours > a")],
        [score.text for score in section.all(".neighbours > i")],
        [both.text for both in section.all(".neighbours > small")],
    ]


def test_numbers(both):
    page, feature = both
    shown = {name: text(value) for name, value in find(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page)}
    for term in (
        "density",
        "fires",
        "max_activation",
        "mean_activation",
        "decoder_norm",
        "encoder_decoder_cosine",
    ):
        assert shown[DEFINITIONS[term].name] == text(
            format_value(DEFINITIONS[term], feature[term])
        ), term


def test_logits_and_neighbours(both):
    page, feature = both
    for side, rows in (("up", feature["top_logits"]), ("down", feature["bottom_logits"])):
        shown = [text(row) for row in find(rf'<div class="{side}"[^>]*>(.*?)</div>', page)]
        assert shown == [
            text(html.escape(visible(row["text"])) + signed(row["logit"])) for row in rows
        ]
    (near,) = section(page, "Nearest features")
    assert neighbours(near) == [
        [str(row["index"]) for row in feature["nearest"]],
        [f"{row['cosine']:.2f}" for row in feature["nearest"]],
        [f"{row['both']:,}" for row in feature["nearest"]],
    ]


def test_what_it_fires_together_with(both):
    page, feature = both
    assert bool(feature["cofiring"]) == feature["alive"]
    rows = section(page, "Fires together with")
    assert [neighbours(row) for row in rows] == [
        [
            [str(row["index"]) for row in feature["cofiring"]],
            [share(row["jaccard"]) for row in feature["cofiring"]],
            [f"{row['both']:,}" for row in feature["cofiring"]],
        ]
    ] * feature["alive"]


def test_examples_token_by_token(both):
    page, feature = both
    examples = [example for band in feature["bands"] for example in band["examples"]]
    head = r'<div class="example"><output><a [^>]*title="(.*?): all of it[^"]*">(.*?)</a></output>'
    shown = find(head + r'<div class="tokens" data-pins="[^"]*">(.*?)</div>', page)
    assert len(shown) == len(examples)
    assert feature["alive"] == bool(examples)
    for (title, value, tokens), example in zip(shown, examples, strict=True):
        assert html.unescape(title) == f"{example['document']}, context {example['context']}"
        assert value == number(example["value"])
        assert text(tokens) == text(
            html.escape("".join(span["text"] for span in example["tokens"]))
        )
        fired = [span["value"] for span in example["tokens"] if span["value"] is not None]
        assert find(r'data-v="(.*?)"', tokens) == [number(value) for value in fired]
        assert sorted(fired) == sorted(example["values"])


def test_bands_and_provenance(both):
    page, feature = both
    shares = [
        text(row) for row in find(r'<div class="band"[^>]*>.*?<span>(.*?)</span></div>', page)
    ]
    assert shares[1:] == [
        text(f"{share(band['share'])} of firings, sampled evenly") for band in feature["bands"][1:]
    ]
    made = feature["provenance"]
    told = text(find(r'<p class="[^"]*provenance">(.*?)</p>', page)[0])
    assert text(f"{made['tokens']:,} tokens of {made['corpus']}") in told
    assert made["sae_sha256"][:8] in told
    assert made["model_revision"][:8] in told


def test_the_list_on_the_saes_page(client):
    builders.planted()
    page = client.get("/tiny/2-res/?order=-density&alive=all").content.decode()
    rows = client.get("/api/v1/features/tiny/2-res/?order=-density").json()["results"]
    order = list(dict.fromkeys(find(r'href="/tiny/2-res/(\d+)/"', page[page.index("<tbody") :])))
    assert order == [str(row["index"]) for row in rows]
    for row in rows:
        assert share(row["density"]) in page
        assert number(row["max_activation"]) in page
