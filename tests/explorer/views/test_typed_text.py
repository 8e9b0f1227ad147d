"""A feature on a typed text: on its page, and through the API, with a worker that is played by the
test.
"""

import json

import pytest

from features.inference import requests as inference_requests
from features.records import InvalidInput
from tests import builders
from tests.page import Page

pytestmark = pytest.mark.django_db
TEXT = " day <b>x</b>"


@pytest.fixture(autouse=True)
def planted():
    return builders.planted()


@pytest.fixture
def worker(monkeypatch):
    """Answers every question as a feature that fires with 2 on " day" and with 1 on ">"; the
    questions it got.
    """
    asked = []

    def ask(question, patience=0):
        asked.append(question)
        ids = builders.encode(question["text"])
        values = [{258: 2.0, ord(">") + 1: 1.0}.get(i, 0.0) for i in ids]
        if question["kind"] == "read_feature":
            return {"token_ids": ids, "values": values, "left_out": [2]}
        fired = [[[5, 1], [value, value / 2]] if value else [[], []] for value in values]
        answer = {"token_ids": ids, "fired": fired, "left_out": [2]}
        return dict.fromkeys(question["saes"], answer)

    monkeypatch.setattr(inference_requests, "request", ask)
    return asked


def refuses(monkeypatch, error):
    def ask(question, patience=0):
        raise error

    monkeypatch.setattr(inference_requests, "request", ask)


def read(client, **body):
    data = {"model": "tiny", "sae": "2-res", "text": TEXT} | body
    return client.post("/api/v1/activations/", json.dumps(data), content_type="application/json")


def test_the_page_shows_the_text_as_a_heatmap(client, worker):
    html = Page(client.get("/tiny/2-res/0/", {"text": TEXT}))
    box = html[html.index('id="test"') : html.index('id="examples"')]
    assert '<t data-v="2.00"' in box
    assert '<t class="left-out" title="Not counted: its norm' in box
    assert "&lt;" in box
    assert "<b>x" not in box
    assert worker[0]["text"] == TEXT
    assert worker[0]["index"] == 0


def test_without_a_text_nothing_is_asked(client, worker, django_assert_num_queries):
    with django_assert_num_queries(5):
        client.get("/tiny/2-res/0/")
    assert worker == []


def test_htmx_gets_the_heatmap_alone(client, worker):
    headers = {"HX-Request": "true", "HX-Target": "test"}
    html = Page(client.get("/tiny/2-res/0/", {"text": TEXT}, headers=headers))
    assert html.strip().startswith('<div id="test"')


@pytest.mark.parametrize("text", ["\0", "a\0b", "x" * 20_001])
def test_a_text_that_cannot_be_read_is_refused_beside_its_field(client, worker, text):
    response = client.get("/tiny/2-res/0/", {"text": text})
    assert response.status_code == 200
    assert "errorlist" in Page(response)
    assert worker == []
    assert read(client, text=text, index=0).status_code == 400


@pytest.mark.parametrize(
    "text", ["🙂", "ש" * 500, "'; DROP TABLE x; --", "<script>alert(1)</script>", " "]
)
def test_any_other_text_is_read_as_it_is(client, worker, text):
    assert client.get("/tiny/2-res/0/", {"text": text}).status_code == 200
    answer = read(client, text=text, index=0).json()["results"][0]
    assert worker[-1]["text"] == text
    assert "".join(span["text"] for span in answer["tokens"][1:]) == text


@pytest.mark.parametrize(
    "error",
    [
        InvalidInput("text", "Too <long>."),
        inference_requests.NoAnswer("Nobody is there."),
    ],
)
def test_what_the_worker_says_is_told(client, monkeypatch, error):
    refuses(monkeypatch, error)
    html = Page(client.get("/tiny/2-res/0/", {"text": "a"}))
    assert "Too &lt;long&gt;." in html or "Nobody is there." in html


def test_the_api_gives_one_feature_or_all_that_fire(client, worker):
    response = read(client, index=0)
    assert response.status_code == 200, response.content
    one = response.json()["results"][0]
    assert one["token_ids"] == builders.encode(TEXT)
    assert max(one["values"]) == 2.0
    every = read(client, sae=["2-res"], top=1).json()["results"][0]
    firing = [token for token in every["fired"] if token]
    assert firing[0] == [{"index": 5, "value": 2.0}]
    assert {len(token) for token in firing} == {1}


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"model": "nope"}, 404, None),
        ({"sae": "nope"}, 404, None),
        ({"index": 999}, 404, None),
        ({"index": -1}, 400, "index"),
        ({"sae": []}, 400, "sae"),
        ({"sae": ["2-res", "3-res"], "index": 0}, 400, "sae"),
        ({"text": ""}, 400, "text"),
        ({"top": 65}, 400, "top"),
    ],
)
def test_a_wrong_request_is_refused(client, worker, body, status, field):
    response = read(client, **body)
    assert response.status_code == status
    assert worker == []
    if field:
        assert field in response.json()["error"]["fields"]


def test_nobody_to_answer_is_a_503(client, monkeypatch):
    refuses(monkeypatch, inference_requests.NoAnswer("Nobody is there."))
    response = read(client)
    assert (response.status_code, response.json()["error"]["code"]) == (503, "unanswered")


def test_a_refusal_of_the_worker_names_its_field(client, monkeypatch):
    refuses(monkeypatch, InvalidInput("text", "500 tokens are too many."))
    assert read(client).json()["error"]["fields"] == {"text": ["500 tokens are too many."]}
