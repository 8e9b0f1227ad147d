"""A feature changed in a text: the page, its fragment and the API say what the worker measured, and
what is in the way.
"""

import json

import pytest

from features.inference import requests as inference_requests
from features.records import InvalidInput
from tests import builders
from tests.page import Page

pytestmark = pytest.mark.django_db
PAGE = "/tiny/2-res/0/effect/"


@pytest.fixture(autouse=True)
def planted():
    return builders.planted()


@pytest.fixture
def worker(monkeypatch):
    """Ablated at " day", which is place 2 of the text; it never says what adding does. The
    questions it got.
    """
    asked = []

    def ask(question, patience=0):
        asked.append(question)
        role = {
            "places": [2],
            "kl_at": [0.75],
            "kl": [0.75, 0.1, 0.2],
            "ce": [1.5, 0, 0.125],
            "logit": [-2, 0.25, 0.5],
        }
        return {
            "token_ids": builders.encode(question["text"]),
            "left_out": [],
            "reads": role | {"promoted": builders.encode(" fox", bos=False)},
            "writes": None,
        }

    monkeypatch.setattr(inference_requests, "request", ask)
    return asked


def test_the_page_shows_where_and_how_much_the_model_moves(client, worker, planted):
    response = client.get(PAGE, {"prompt": " One day"})
    html = Page(response)
    assert response.status_code == 200
    assert '<t data-v="0.750" style="--a:1.00"> day</t>' in html
    for number in ("0.750", "+1.50", "−2.00", "+0.25", "“fox”"):
        assert html.has("main", number), number
    assert html.has("#effect-here p", "fires on every token")
    (asked,) = worker
    row = planted.feature(0)
    assert asked["kind"] == "effect"
    assert (asked["maximum"], asked["tokens"]) == (row.max_activation, row.top_logit_ids[:10])


def test_htmx_gets_the_part_alone_and_an_empty_text_asks_nobody(client, worker):
    part = client.get(
        PAGE, {"prompt": " day"}, headers={"HX-Request": "true", "HX-Target": "effect-here"}
    )
    assert Page(part).lstrip().startswith('<div id="effect-here"')
    assert client.get(PAGE).status_code == 200
    assert len(worker) == 1


@pytest.mark.parametrize(
    "error",
    [
        InvalidInput("text", "It has 300 tokens."),
        inference_requests.NoAnswer("Nobody is there."),
    ],
)
def test_what_is_in_the_way_is_told(client, monkeypatch, error):
    def ask(question, patience=0):
        raise error

    monkeypatch.setattr(inference_requests, "request", ask)
    response = client.get(PAGE, {"prompt": " day"})
    assert response.status_code == 200
    assert str(error) in Page(response)
    sent = json.dumps({"model": "tiny", "sae": "2-res", "index": 0, "text": " day"})
    status = client.post("/api/v1/effects/", sent, content_type="application/json").status_code
    assert status == (400 if isinstance(error, InvalidInput) else 503)


@pytest.mark.parametrize("text", ["a\0b", "x" * 30_000, "<script>alert(1)</script>\u202e"])
def test_rubbish_is_no_500(client, worker, text):
    html = Page(client.get(PAGE, {"prompt": text}))
    assert "<script>alert" not in html


def test_the_api_says_the_same(client, worker):
    sent = json.dumps({"model": "tiny", "sae": "2-res", "index": 0, "text": " One day"})
    answer = client.post("/api/v1/effects/", sent, content_type="application/json").json()
    assert answer["reads"]["kl"] == {"value": 0.75, "control": 0.1, "most": 0.2}
    assert answer["reads"]["promoted"] == ["fox"]
    assert answer["writes"] is None
    wrong = json.dumps({"model": "tiny", "sae": "2-res", "index": 99, "text": " One day"})
    assert (
        client.post("/api/v1/effects/", wrong, content_type="application/json").status_code == 404
    )


def test_a_feature_that_is_not_there_is_a_404(client):
    assert client.get("/tiny/2-res/99/effect/").status_code == 404
