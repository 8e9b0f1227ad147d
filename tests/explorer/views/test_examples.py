"""What leads on from an example: into the test box, to its whole context, into another page; and
the marks of a typed text.
"""

import re
from urllib.parse import parse_qs, urlsplit

import pytest

from features.inference import requests as inference_requests
from features.models import Sequence
from features.records import InvalidInput, SequenceRecord
from tests import builders
from tests.page import Page

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def planted():
    return builders.planted()


@pytest.fixture
def worker(monkeypatch):
    """Feature 0 fires with 1.5 on " day" and feature 5 with 0.5 on " fox" and " day"; the questions
    it got.
    """
    asked = []

    def ask(question, patience=0):
        asked.append(question)
        ids = question.get("token_ids") or builders.encode(question["text"])
        if question["kind"] == "read_feature":
            values = [1.5 if i == 258 else 0.0 for i in ids]
            return {"token_ids": ids, "values": values, "left_out": []}
        fires = {258: [[0, 5], [1.5, 0.5]], 260: [[5], [0.5]]}
        return {
            slug: {
                "token_ids": ids,
                "fired": [fires.get(i, [[], []]) for i in ids],
                "left_out": [],
            }
            for slug in question["saes"]
        }

    monkeypatch.setattr(inference_requests, "request", ask)
    return asked


def html(client, address, **headers):
    response = client.get(address, headers=headers)
    assert response.status_code == 200, response.content[:500]
    return Page(response)


def first_story():
    return Sequence.objects.get(position=0)


def indices(page):
    return re.findall(r'name="feature" id="[^"]+" value="2-res/(\d+)"', page)


# into the test box


def test_an_example_goes_into_the_test_box_by_one_link(client, worker):
    page = html(client, "/tiny/2-res/0/?width=full")
    link = re.search(r'class="example-try" href="([^"]+)"', page)[1].replace("&amp;", "&")
    sent = client.get(f"/tiny/2-res/0/{link}")
    assert sent.status_code == 302
    found = urlsplit(sent.headers["Location"])
    assert (found.path, found.fragment) == ("/tiny/2-res/0/", "test")
    assert parse_qs(found.query) == {"width": ["full"], "text": [builders.TEXTS[0]]}
    assert html(client, f"{found.path}?{found.query}").has("main", "One day a fox ran.")


def test_its_text_ends_at_special_tokens_and_whole_characters(planted, client):
    ids = [
        *builders.encode(" fox"),
        *builders.encode(" é day"),
        0,
        *builders.encode(" ran", bos=False),
        0xC3 + 1,
    ]
    long = SequenceRecord(100, "long.txt", ids)
    builders.dashboards(planted.sae, planted.corpus, [builders.firing(0, " day", [long])], [long])
    sent = client.get("/tiny/2-res/0/try/0.0/")
    assert parse_qs(urlsplit(sent.headers["Location"]).query)["text"] == [" é day"]
    cut = builders.firing(0, " ran", [long])
    builders.dashboards(planted.sae, planted.corpus, [cut], [long])
    sent = client.get("/tiny/2-res/0/try/0.0/")
    assert parse_qs(urlsplit(sent.headers["Location"]).query)["text"] == [" ran"], (
        "the half of é is left out"
    )


@pytest.mark.parametrize("name", ["0.9999", "7.0", f"0.{10**30}", f"{10**30}.0"])
def test_an_example_that_is_not_there_leads_back(client, planted, name):
    response = client.get(f"/tiny/2-res/0/try/{name}/")
    assert response.status_code == 404
    assert Page(response).has("h1", "There is no such example")


# its whole context


def test_a_context_shows_every_feature_that_fires_on_its_stored_tokens(client, worker):
    row = first_story()
    page = html(client, f"/tiny/2-res/contexts/{row.pk}/")
    assert worker == [
        {"kind": "read_context", "token_ids": row.token_ids, "saes": ["2-res"], "model": "tiny",
         "revision": "2f1c0ffee2f1c0ffee", "made": ["9ab3" * 16], "counted": [[0.0, 0.0, 0]]}
    ]  # fmt: skip
    assert page.has("h1", "story-0.txt")
    assert indices(page) == ["0", "5"]
    assert re.search(r'<t data-v="1.50" style="--a:[\d.]+"> day</t>', page)


def test_the_example_of_a_feature_leads_to_its_context_lit_by_it(client, worker):
    page = html(client, "/tiny/2-res/5/")
    link = re.search(r'<output><a href="([^"]+)"', page)[1]
    assert link.endswith("/?feature=2-res/5")
    lit = html(client, link)
    assert re.search(r'<t data-v="0.500" style="--a:[\d.]+"> fox</t>', lit)


def test_a_chosen_token_lists_what_fires_on_it_alone(client, worker):
    row = first_story()
    fox = row.token_ids.index(260)
    page = html(
        client,
        f"/tiny/2-res/contexts/{row.pk}/?tokens={fox}",
        HX_Request="true",
        HX_Target="results",
    )
    assert page.lstrip().startswith('<div id="results"')
    assert indices(page) == ["5"]


def test_a_feature_beyond_the_first_is_shown_where_it_was_asked_for(client, worker, monkeypatch):
    monkeypatch.setattr("features.selectors.text_search.MAX_RESULTS", 1)
    row = first_story()
    assert indices(html(client, f"/tiny/2-res/contexts/{row.pk}/")) == ["0"]
    assert indices(html(client, f"/tiny/2-res/contexts/{row.pk}/?feature=2-res/5")) == ["0", "5"]


def test_contexts_lead_to_those_beside_them(client, worker):
    rows = {row.position: row.pk for row in Sequence.objects.all()}
    page = html(client, f"/tiny/2-res/contexts/{rows[1]}/")
    assert f'rel="prev" href="/tiny/2-res/contexts/{rows[0]}/' in page
    assert f'rel="next" href="/tiny/2-res/contexts/{rows[2]}/' in page
    assert 'rel="prev"' not in html(client, f"/tiny/2-res/contexts/{rows[0]}/")


@pytest.mark.parametrize("pk", [999_999, 10**30])
def test_a_context_that_is_not_there_says_so(client, worker, pk):
    response = client.get(f"/tiny/2-res/contexts/{pk}/")
    assert response.status_code == 404
    assert Page(response).has("h1", "No context")


def test_a_context_of_another_model_is_none_of_this_ones(client, worker):
    other = builders.planted(slug="other")
    row = Sequence.objects.filter(model=other.model).first()
    assert client.get(f"/tiny/2-res/contexts/{row.pk}/").status_code == 404
    assert client.get(f"/other/2-res/contexts/{row.pk}/").status_code == 200


@pytest.mark.parametrize(
    "query",
    [
        "tokens=9999",
        "tokens=x",
        "by=beauty",
        "scale=%00",
        "density_max=7",
        "feature=%00",
        f"feature={'x' * 101}",
    ],
)
def test_a_wrong_query_is_told_and_the_context_stays(client, worker, query):
    page = html(client, f"/tiny/2-res/contexts/{first_story().pk}/?{query}")
    assert page.has('div[class="tokens choose"]')
    assert page.has('ul[class="errorlist"]')


@pytest.mark.parametrize(
    "error",
    [
        InvalidInput("context", "Too <long>."),
        inference_requests.NoAnswer("Nobody is there."),
    ],
)
def test_a_context_that_nobody_reads_says_why(client, monkeypatch, error):
    def ask(question, patience=0):
        raise error

    monkeypatch.setattr(inference_requests, "request", ask)
    page = html(client, f"/tiny/2-res/contexts/{first_story().pk}/")
    assert "Too &lt;long&gt;." in page or "Nobody is there." in page


# a typed text, on the histogram


def test_the_maximum_of_a_typed_text_is_marked_in_the_histogram(client, worker, planted):
    assert 'class="mark"' not in html(client, "/tiny/2-res/0/")
    page = html(client, "/tiny/2-res/0/?text=+day")
    at = float(re.search(r'class="mark" d="M([\d.]+) 0V', page)[1])
    row = planted.feature(0)
    bins = int(row.max_activation / row.histogram_width) + 1
    assert at == pytest.approx(1 + 338 * 1.5 / (bins * row.histogram_width), abs=0.1)
    assert page.has("main", "Maximum on this text: 1.50")


def test_the_mark_and_the_ways_on_come_with_the_answer(client, worker):
    part = html(client, "/tiny/2-res/0/?text=+day&width=full", HX_Request="true", HX_Target="test")
    assert part.has('div[id="histogram"][hx-swap-oob="true"]')
    assert part.has('a[href="/tiny/2-res/1/?text=+day&width=full"]')
    assert "<html" not in part


# line breaks


@pytest.mark.parametrize(
    ("query", "breaks"),
    [
        ("", False),
        ("?breaks=on", True),
        ("?width=full", True),
        ("?width=full&breaks=off", False),
        ("?width=stacked&breaks=on", False),
    ],
)
def test_lines_break_where_it_is_asked_for(client, planted, query, breaks):
    page = html(client, f"/tiny/2-res/1/{query}")
    shown = page[page.index('id="examples"') :]
    assert "↵" in shown
    assert ("↵\n" in shown) == breaks


# inside another page


def test_an_embedded_feature_is_heatmaps_alone_and_may_be_framed(client):
    response = client.get("/tiny/2-res/0/embed/?width=stacked&examples=1")
    page = Page(response)
    assert "X-Frame-Options" not in response.headers
    assert not response.cookies
    assert page.count('class="example"') == 1
    assert "<nav" not in page
    assert "<form" not in page
    links = re.findall(r'<a href="([^"]+)" target="_blank" rel="noopener"', page)
    assert links == ["/tiny/2-res/0/"]


@pytest.mark.parametrize(
    "address", ["/", "/tiny/2-res/0/", "/tiny/2-res/999/embed/", "/tiny/nobody/0/embed/"]
)
def test_no_other_page_may_be_framed(client, address):
    assert client.get(address).headers["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize("query", ["width=huge", "examples=0", "examples=x", "breaks=%00"])
def test_a_wrong_wish_for_an_embedded_feature_is_passed_over(client, query):
    assert html(client, f"/tiny/2-res/0/embed/?{query}").has('script[src*="heatmap"]')


def test_the_page_offers_its_data_and_the_code_to_embed_it(client):
    page = html(client, "/tiny/2-res/0/?width=full")
    assert page.has('a[href="/api/v1/features/tiny/2-res/0/"]')
    assert page.has("main", 'src="http://testserver/tiny/2-res/0/embed/?width=full&breaks=on"')


def test_a_dead_feature_has_nothing_to_embed_and_says_so(client):
    assert html(client, "/tiny/2-res/3/embed/").has("p", "never fired")
