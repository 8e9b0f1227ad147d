"""The search page and its API: by a text, by two, and by a token, with a worker that is played by
the test.
"""

import re
from itertools import product

import pytest
from django.http import QueryDict

from features import vocabulary
from features.inference import requests as inference_requests
from features.models import Feature, LanguageModel
from features.records import InvalidInput
from tests import builders
from tests.page import Page

pytestmark = pytest.mark.django_db
TEXT = " One day a fox ran"


@pytest.fixture
def planted():
    return builders.planted()


@pytest.fixture
def worker(monkeypatch):
    """Answers as the planted SAE: feature 0 fires with 2 on " day", 5 with 3 on " fox", 6 with 1 on
    every token but " day".
    """
    asked = []

    def on(token_id):
        if token_id == 258:
            return [[0, 6], [2.0, 1.5]]
        return [[5, 6], [3.0, 1.0]] if token_id == 260 else [[6], [1.0]] if token_id else [[], []]

    def ask(question, patience=0):
        asked.append(question)
        ids = builders.encode(question["text"])
        answer = {"token_ids": ids, "fired": list(map(on, ids)), "left_out": []}
        return dict.fromkeys(question["saes"], answer)

    monkeypatch.setattr(inference_requests, "request", ask)
    return asked


def get(client, htmx=False, **query):
    headers = {"HX-Request": "true", "HX-Target": "results"} if htmx else {}
    response = client.get("/search/", query, headers=headers)
    assert response.status_code == 200
    return Page(response)


def ranked(html):
    """What the table of features lists: name and value."""
    return re.findall(
        r'name="feature".*?>(\S+)</a></td>\s*<td class="cell-number">(?:<span[^>]*>)?([\d.−+]+)',
        html,
    )


def test_it_is_in_the_navigation_and_says_where_nothing_is(client):
    assert Page(client.get("/")).has('a[href="/search/"]')
    assert get(client).has("#main p", "nothing to search yet")
    assert get(client, text="").has("#main p", "nothing to search yet")
    assert get(client, token="x").has("#main p", "nothing to search yet")


def test_a_text_is_ranked_over_all_its_tokens(client, planted, worker):
    html = get(client, text=TEXT, density_max="100%")
    assert ranked(html) == [("2-res/6", "5.50"), ("2-res/5", "3.00"), ("2-res/0", "2.00")]
    assert worker[0]["text"] == TEXT
    assert len(worker) == 1
    assert worker[0]["saes"] == ["2-res"]


def test_dense_features_are_hidden_until_they_are_asked_for(client, planted, worker):
    Feature.objects.update(density=0.0005)
    Feature.objects.filter(index=6).update(density=0.02)
    html = get(client, text=TEXT)
    assert [name for name, _ in ranked(html)] == ["2-res/5", "2-res/0"]
    assert html.has("#results h2", "1 that fire on more than 1.0% of tokens is hidden")
    assert "2-res/6" not in html
    assert get(client, text=TEXT, density_max="3%").has("#results h2", "2-res/6")
    assert ranked(get(client, text=TEXT, density_max="0.01%")) == []
    assert get(client, text=TEXT, density_max="lots").has("#results [role=alert]", "Write a share")


@pytest.mark.parametrize(
    ("by", "first"),
    [
        ("sum", ("2-res/0", "2.00")),
        ("max", ("2-res/0", "2.00")),
        ("difference", ("2-res/0", "2.00")),
    ],
)
def test_tokens_are_chosen_in_the_query_string(client, planted, worker, by, first):
    html = get(client, text=TEXT, density_max="100%", tokens="1", by=by)
    assert ranked(html)[0] == first
    assert re.findall(r'name="tokens" id="t(\d+)"[^>]* checked', html) == ["1"]
    assert ("2-res/5", "3.00") not in ranked(html)


def test_tokens_may_be_listed_or_given_one_by_one(client, planted, worker):
    one = Page(client.get(f"/search/?text={TEXT}&density_max=1&tokens=1,3"))
    several = Page(client.get(f"/search/?text={TEXT}&density_max=1&tokens=3&tokens=1"))
    assert (
        ranked(one)
        == ranked(several)
        == [("2-res/5", "3.00"), ("2-res/6", "2.50"), ("2-res/0", "2.00")]
    )


def test_every_token_names_its_strongest_features(client, planted, worker):
    html = get(client, text=TEXT, density_max="100%")
    assert html.has('label[title="2-res/0 2.00 · 2-res/6 1.50"]')
    table = html[html.index("The strongest features of every token") :]
    rows = re.findall(
        r'<tr><td class="cell-number">(\d+)</td><td class="tokens">([^<]+)</td>(.*?)</tr>',
        table,
        re.DOTALL,
    )
    assert [(int(place), text) for place, text, _ in rows] == list(
        enumerate(["␣One", "␣day", "␣a", "␣fox", "␣ran"])
    )
    assert re.findall(r">(2-res/\d)</a> <small>([\d.]+)", rows[3][2]) == [
        ("2-res/5", "3.00"),
        ("2-res/6", "1.00"),
    ]


def test_the_text_is_lit_by_the_feature_that_is_shown(client, planted, worker):
    html = get(client, text=TEXT, density_max="100%", feature="2-res/0")
    shown = html[html.index('class="tokens choose"') : html.index('aria-label="Features"')]
    assert re.findall(r'data-v="([\d.]+)" style="--a:([\d.]+)"> (\w+)<', shown) == [
        ("2.00", "1.00", "day")
    ]
    assert html.has('a[href="/tiny/2-res/0/?text=%20One%20day%20a%20fox%20ran"]')
    assert "2-res/6</a> on the text" in get(
        client, text=TEXT, density_max="100%", feature="2-res/77"
    )


def test_shares_of_the_own_maximum_compare_across_scales(client, planted, worker):
    html = get(client, text=TEXT, density_max="100%", by="max", scale="own")
    values = {i: planted.feature(i).max_activation for i in (0, 5, 6)}
    found = dict(ranked(html))
    assert float(found["2-res/0"]) == pytest.approx(2.0 / values[0], abs=0.005)
    assert float(found["2-res/5"]) == pytest.approx(3.0 / values[5], abs=0.005)


def test_two_texts_are_told_apart(client, planted, worker):
    html = get(client, text=" day a", text2=" fox a", density_max="100%")
    assert ranked(html) == [("2-res/5", "−1.50"), ("2-res/0", "+1.00"), ("2-res/6", "+0.250")]
    assert [question["text"] for question in worker] == [" day a", " fox a"]
    html = get(
        client, text=" day a", text2=" fox a", density_max="100%", by="max", feature="2-res/0"
    )
    assert ranked(html) == [("2-res/5", "−3.00"), ("2-res/0", "+2.00"), ("2-res/6", "+0.500")]
    both = html[
        html.index('class="sides"', html.index('id="results"')) : html.index(
            'aria-label="Features"'
        )
    ]
    assert both.count('class="tokens"') == 2
    assert both.count("data-v") == 1
    assert 'name="tokens"' not in html


def test_one_of_two_texts_alone_finds_nothing_yet(client, planted, worker):
    assert ranked(get(client, text=" day", text2="")) == []
    assert ranked(get(client, text="", text2=" day")) == []


def test_htmx_gets_what_was_found_alone(client, planted, worker):
    assert get(client, htmx=True, text=TEXT).strip().startswith('<div id="results"')
    assert get(client, htmx=True, token=" day").strip().startswith('<div id="results"')


def test_tokens_that_are_not_there_choose_nothing(client, planted, worker):
    html = get(client, text=TEXT, density_max="100%", tokens="98,99")
    assert ranked(html) == ranked(get(client, text=TEXT, density_max="100%"))
    assert html.has("#results h2", "Features on the whole text")


def test_a_box_of_several_tokens_is_chosen_whole(client, planted, worker):
    html = get(client, text=" day é", density_max="100%", tokens="3")
    assert re.findall(r'name="tokens" id="t(\d+)" value="([\d,]+)"[^>]* checked', html) == [
        ("2", "2,3")
    ]


def test_special_tokens_are_no_choice_and_count_for_nothing(client, planted, worker):
    planted.sae.config["prepend_bos"] = False
    planted.sae.save()
    html = get(client, text=" day", density_max="100%", by="difference", tokens="0,1")
    assert '<t class="special">&lt;|endoftext|&gt;</t>' in html
    assert re.findall(r'name="tokens" id="t(\d+)"', html) == ["1"]
    assert ranked(html)[0] == ("2-res/0", "2.00")


@pytest.mark.parametrize(
    "text",
    [
        "🙂 日本",
        "ש" * 300,
        "'; DROP TABLE x; --",
        "<script>alert(1)</script>",
        " ",
        "\r\n\t",
        "%s {{ x }} \\",
    ],
)
def test_any_text_and_token_is_taken_as_it_is(client, planted, worker, text):
    html = get(client, text=text, density_max="100%")
    assert worker[-1]["text"] == text
    assert "<script>alert(1)" not in html
    html = get(client, token=text)
    assert "<script>alert(1)" not in html
    assert get(client, text=text, text2=text)


@pytest.mark.parametrize("text", ["\0", "a\0b", "x" * 100_000])
@pytest.mark.parametrize("field", ["text", "text2", "token"])
def test_what_cannot_be_read_is_refused_beside_its_field(client, planted, worker, text, field):
    html = get(client, **({"text": "a"} | {field: text}))
    assert "errorlist" in html
    assert text not in [question["text"] for question in worker]


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"model": "nope"}, "There is no model “nope” with dashboards. Known: tiny."),
        ({"sae": "nope"}, "There is no SAE “nope” of this model with dashboards. Known: 2-res."),
        ({"tokens": "99"}, "This text has the tokens 0 to 4"),
        ({"tokens": "1,x"}, "such as 3,4,7"),
        ({"tokens": "-1"}, "such as 3,4,7"),
        ({"tokens": "9" * 5000}, "such as 3,4,7"),
        ({"tokens": "²"}, "such as 3,4,7"),
        ({"by": "magic"}, "magic is not one of the available choices"),
        ({"scale": "x"}, "x is not one of the available choices"),
        ({"density_max": "nan"}, "Write a share"),
        ({"feature": "x" * 101}, "at most 100 characters"),
    ],
)
def test_a_wrong_query_is_told_beside_its_field(client, planted, worker, query, told):
    assert get(client, text=TEXT, **query).has("main", told)


@pytest.mark.parametrize(
    "error",
    [
        InvalidInput("text", "Too <long>."),
        InvalidInput("", "Broken."),
        inference_requests.NoAnswer("Nobody is there."),
    ],
)
def test_what_the_worker_says_is_told(client, planted, monkeypatch, error):
    def ask(question, patience=0):
        raise error

    monkeypatch.setattr(inference_requests, "request", ask)
    for query in ({"text": "a"}, {"text": "a", "text2": "b"}):
        html = get(client, **query)
        assert "Too &lt;long&gt;." in html or "Nobody is there." in html or "Broken." in html


def test_a_model_is_chosen_and_its_saes_are_all_read_until_some_are_ticked(client, planted, worker):
    second = builders.sae(planted.model, "3-res")
    builders.dashboards(second, planted.corpus, [builders.dead(i) for i in range(8)], [])
    builders.sae(planted.model, "4-res")
    builders.planted(slug="big")
    get(client, text="a", model="tiny")
    get(client, text="a", model="tiny", sae="3-res")
    get(client, text="a")
    get(client, text="a", model="tiny", sae="4-res")
    assert [(question["model"], question["saes"]) for question in worker] == [
        ("tiny", ["2-res", "3-res"]),
        ("tiny", ["3-res"]),
        ("big", ["2-res"]),
        ("tiny", ["2-res", "3-res"]),
    ]


def test_a_text_is_read_by_twelve_saes_at_most_and_a_token_searched_in_all(client, planted, worker):
    for number in range(13):
        sae = builders.sae(planted.model, f"m{number:02}")
        contexts = builders.sequences()
        builders.dashboards(sae, planted.corpus, [builders.firing(0, " day", contexts)], contexts)
    html = get(client, text=TEXT)
    assert len(worker[0]["saes"]) == 12
    assert html.has("#results summary", "The first 12 of 14 SAEs")
    html = get(client, text=TEXT, sae=[f"m{number:02}" for number in range(13)])
    assert html.has("#id_sae_error li", "13 SAEs are selected; at most 12 can be searched at once.")
    html = get(client, token=" day")
    assert html.has("#results summary", "All 14 SAEs")
    assert len(re.findall(r'href="/tiny/[^/]+/0/"', html[: html.index("Promote this token")])) == 14


def test_more_features_cost_no_more_queries(client, worker, django_assert_num_queries, monkeypatch):
    builders.planted(slug="a")
    builders.planted(width=40, slug="b")
    asked = [(7, {"text": TEXT}), (7, {"text": TEXT, "text2": " a fox"}), (7, {"token": " day"})]
    for model, (queries, query) in product(("a", "b"), asked):
        monkeypatch.setattr(vocabulary, "_kept", {})  # as in a process that has just started
        with django_assert_num_queries(queries):
            get(client, model=model, density_max="100%", **query)


def test_a_token_finds_what_peaks_on_it_and_what_promotes_it(client, planted):
    html = get(client, token=" day")
    fire, promote = (
        html[html.index("Fire on this token") : html.index("Promote this token")],
        html[html.index("Promote this token") :],
    )
    assert re.findall(r'href="/tiny/2-res/(\d)/"', fire) == ["0"]
    assert re.findall(r'<td class="cell-number">(\d+)</td>', fire) == ["3"]
    assert len(re.findall(r'href="/tiny/2-res/(\d)/"', promote)) == 8
    assert promote.count("+0.99") == 8
    assert "␣day</b> 258" in html


def test_a_feature_links_the_tokens_that_it_writes_to_their_search(client, planted):
    html = Page(client.get("/tiny/2-res/0/"))
    assert html.has('a[href="/search/?model=tiny&token=%20day"]')
    assert 'href="/search/?model=tiny&amp;token=%3Cscript%3E"' not in html
    assert html.has('a[href="/search/?model=tiny&token=def"]')


def test_a_token_that_is_none_is_told_with_the_way_on(client, planted):
    html = get(client, token="nothing<b>")
    assert html.has("#results p", "No token of tiny is “nothing<b>”")
    assert html.has('a[href="/search/?model=tiny&text=nothing%3Cb%3E"]')


def test_the_api_gives_the_same(client, planted):
    answer = client.get("/api/v1/search/tokens/", {"token": "day", "limit": 3}).json()
    assert answer["model"] == "tiny"
    assert answer["tokens"] == [{"token_id": 258, "text": " day"}]
    (row,) = answer["peaks"]
    assert (row["sae"], row["index"], row["examples"], row["url"]) == (
        "2-res",
        0,
        3,
        "/tiny/2-res/0/",
    )
    assert "day" in "".join(span["text"] for span in row["snippet"])
    assert [row["index"] for row in answer["promotes"]] == [0, 1, 2]
    assert answer["promotes"][0]["logit"] == pytest.approx(0.99)
    assert client.get("/api/v1/search/tokens/", {"token": "nothing"}).json()["peaks"] == []


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("", 400, "token"),
        ("token=", 400, "token"),
        ("token=a%00b", 400, "token"),
        ("token=" + "x" * 201, 400, "token"),
        ("token=a&limit=0", 400, "limit"),
        ("token=a&nonsense=1", 400, "nonsense"),
        ("token=a&model=nope", 404, None),
        ("token=a&model=a%00b", 400, "model"),
        ("token=a&sae=nope", 404, None),
    ],
)
def test_the_api_refuses_what_is_wrong(client, planted, query, status, field):
    response = client.get(f"/api/v1/search/tokens/?{query}")
    assert response.status_code == status, response.content
    assert field is None or field in response.json()["error"]["fields"]


def test_the_api_wants_a_model_where_there_are_several(client, planted):
    builders.planted(slug="big")
    response = client.get("/api/v1/search/tokens/?token=day")
    assert response.json()["error"]["fields"] == {"model": ["Name one of the models: big, tiny."]}
    found = client.get("/api/v1/search/tokens/?token=day&model=big&sae=2-res").json()
    assert found["model"] == "big"
    assert LanguageModel.objects.count() == 2


def test_what_is_chosen_can_be_sent_as_a_link(client, planted, worker):
    link = QueryDict(mutable=True)
    link.update(
        {"text": TEXT, "tokens": "1", "by": "max", "density_max": "100%", "feature": "2-res/6"}
    )
    first = Page(client.get(f"/search/?{link.urlencode()}"))
    assert "2-res/6</a> on the text" in first
    assert '<option value="max" selected>' in first
    assert '<option value="100%" selected>' in first
