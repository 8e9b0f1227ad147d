"""Features beside each other on one text, and SAEs whose features were matched."""

import re

import pytest
from django.core.exceptions import ValidationError

from explorer.views.compare_features import MOST
from features.inference import requests as inference_requests
from features.ingest import matches as match_ingest
from features.models import Feature, Matching
from features.models.match import BINS
from features.records import FeatureMatches, SaeMatches
from features.slugs import not_a_fixed_word
from tests import builders
from tests.page import Page

pytestmark = pytest.mark.django_db


@pytest.fixture
def planted():
    return builders.planted()


@pytest.fixture
def two(planted):
    """A second SAE “3-res” with dashboards, matched with the first: feature i with 7 - i, cosines
    rising with i.
    """
    other = builders.sae(planted.model, "3-res")
    contexts = builders.sequences()
    words = [" fox", " day", " a"]
    builders.dashboards(
        other,
        planted.corpus,
        [builders.firing(i, w, contexts) for i, w in enumerate(words)],
        contexts,
    )
    there = FeatureMatches(
        [7 - i for i in range(8)], [-0.25, 0.05, 0.3, 0.5, 0.6999, 0.7, 0.95, 1.0]
    )
    back = FeatureMatches([7 - i for i in range(8)], [0.9] * 8)
    match_ingest.write(planted.sae, other, SaeMatches(there, back), None)
    return other


@pytest.fixture
def worker(monkeypatch):
    """Fires with 1.5 on " day", whatever the feature; the questions it got."""
    asked = []

    def ask(question, patience=0):
        asked.append(question)
        ids = builders.encode(question["text"])
        values = [1.5 if i == 258 else 0.0 for i in ids]
        return {"token_ids": ids, "values": values, "left_out": []}

    monkeypatch.setattr(inference_requests, "request", ask)
    return asked


def html(client, address, **headers):
    response = client.get(address, headers=headers)
    assert response.status_code == 200, response.content[:500]
    return Page(response)


def sides(page):
    return re.findall(r'<section class="panel" aria-label="([^"]+)">', page)


# features


def test_features_stand_side_by_side_with_what_each_does_on_the_text(client, two, worker):
    page = html(client, "/compare/?f=tiny/2-res/0&f=tiny/3-res/1&text=+day")
    assert sides(page) == ["tiny/2-res/0", "tiny/3-res/1"]
    assert [(q["sae"], q["index"]) for q in worker] == [("2-res", 0), ("3-res", 1)]
    assert page.count('class="mark"') == 2
    assert page.count("Maximum on this text: 1.50") == 4, "in the words of both plots and on hover"
    assert page.has('a[href="?f=tiny%2F3-res%2F1&text=+day"][aria-label="Remove tiny/2-res/0"]')


def test_after_the_first_a_short_name_is_enough_and_none_counts_twice(client, two, worker):
    assert sides(html(client, "/compare/?f=tiny/2-res/0&f=5&f=3-res/2&f=&f=tiny/2-res/5")) == [
        "tiny/2-res/0", "tiny/2-res/5", "tiny/3-res/2",
    ]  # fmt: skip
    assert worker == []


def test_the_same_index_in_another_sae_is_offered(client, two):
    page = html(client, "/compare/?f=tiny/2-res/1")
    assert (
        'The same index in <a href="?f=tiny%2F2-res%2F1&amp;f=tiny%2F3-res%2F1">3-res</a>' in page
    )


def test_features_of_several_models_compare_too(client, two, worker):
    builders.planted(slug="other")
    page = html(client, "/compare/?f=tiny/2-res/0&f=other/2-res/3&text=+day")
    assert sides(page) == ["tiny/2-res/0", "other/2-res/3"]
    assert page.has("#sides p", "It never fired")
    assert [q["model"] for q in worker] == ["tiny", "other"]


@pytest.mark.parametrize("count", [1, 2, 6])
def test_the_page_costs_the_same_for_any_number_of_features(
    client, two, django_assert_num_queries, count
):
    query = "&".join(f"f=tiny/2-res/{i}" for i in range(count))
    with django_assert_num_queries(3 + (count < MOST)):  # the SAEs that are offered
        html(client, f"/compare/?{query}")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("f=nonsense", "names no feature"),
        ("f=tiny/2-res/x", "names no feature"),
        ("f=5", "names no feature"),
        ("f=tiny/2-res/-1", "names no feature"),
        ("f=tiny/2-res/%D9%A3", "names no feature"),
        ("f=a/b/c/1", "names no feature"),
        (f"f=tiny/2-res/{10**30}", "names no feature"),
        ("f=tiny/2-res%00/1", "names no feature"),
        ("f=%3Cscript%3E", "names no feature"),
        ("f=tiny/2-res/800", "There is no feature tiny/2-res/800"),
        ("f=nobody/2-res/0&f=tiny/2-res/0", "There is no feature nobody/2-res/0"),
        ("&".join(f"f=tiny/2-res/{i}" for i in range(7)), "at most 6"),
        ("f=tiny/2-res/0&text=%00", "Null characters"),
        (f"f=tiny/2-res/0&text={'x' * 20_001}", "at most 20000"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_asked(client, two, worker, query, said):
    page = html(client, f"/compare/?{query}")
    assert page.has("#sides [role=alert]", said)
    assert "<script>" not in page
    assert worker == []


def test_nobody_to_answer_is_told_once_beside_the_features(client, two, monkeypatch):
    def ask(question, patience=0):
        raise inference_requests.NoAnswer("Nobody is there.")

    monkeypatch.setattr(inference_requests, "request", ask)
    page = html(client, "/compare/?f=tiny/2-res/0&f=tiny/2-res/1&text=a")
    assert len(sides(page)) == 2
    assert page.count("Nobody is there.") == 1


def test_an_empty_page_says_how_to_begin(client, db):
    assert html(client, "/compare/").has("#sides p", "MODEL/SAE/INDEX")


def test_no_model_takes_the_address():
    with pytest.raises(ValidationError):
        not_a_fixed_word("compare")


def test_the_sides_come_as_a_fragment(client, two, worker):
    part = html(client, "/compare/?f=tiny/2-res/0&text=a", HX_Request="true", HX_Target="sides")
    assert part.lstrip().startswith('<div id="sides"')


# matches


def test_the_share_that_has_a_match_counts_cosines_from_the_stated_one_on(two):
    there = Matching.objects.get(other=two)
    assert there.matched == 3 / 8
    assert there.histogram == [1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 1, 1, 0, 0, 0, 0, 2]


@pytest.mark.parametrize("cosine", [-1.0, 0.0, 0.05, 0.5, 0.7, 0.7 - 1e-9, 1.0])
def test_a_histogram_has_the_bins_that_it_says(cosine):
    expected = sum(cosine >= place / BINS for place in range(1, BINS))
    assert match_ingest.histogram([cosine]).index(1) == expected


def test_the_page_of_a_model_shows_both_ways(client, two):
    page = html(client, "/tiny/compare/")
    assert re.findall(r'href="(/tiny/[^"]+/matches/[^"]+/)"', page) == [
        "/tiny/2-res/matches/3-res/",
        "/tiny/3-res/matches/2-res/",
    ]
    assert page.has("#main p", "37.5%")
    assert "matches" not in html(client, "/tiny/compare/?sae=2-res")


def matched(page):
    return re.findall(r'aria-label="Compare (\d+) with (\d+)"', page)


@pytest.mark.parametrize(
    ("order", "first"),
    [("", ("7", "0")), ("?order=cosine", ("0", "7")), ("?order=index", ("0", "7"))],
)
def test_matches_are_listed_in_the_order_asked_for(client, two, order, first):
    page = html(client, f"/tiny/2-res/matches/3-res/{order}")
    assert matched(page)[0] == first
    assert len(matched(page)) == 8
    assert page.has('a[href="/compare/?f=tiny/2-res/7&f=tiny/3-res/0"]')


@pytest.mark.parametrize("order", ["-cosine", "cosine", "index"])
def test_pages_of_matches_join_without_gap_or_repeat(client, two, monkeypatch, order):
    monkeypatch.setattr(
        "features.selectors.matches.page.__kwdefaults__",
        {"order": "-cosine", "cursor": "", "size": 3},
    )
    address, seen = f"/tiny/3-res/matches/2-res/?order={order}", []
    while address and len(seen) <= 8:
        page = html(client, address)
        seen += matched(page)
        more = re.search(r'<a class="button" href="(\?[^"]*cursor=[^"]*)"', page)
        address = "/tiny/3-res/matches/2-res/" + more[1].replace("&amp;", "&") if more else ""
    assert sorted(seen) == [(str(i), str(7 - i)) for i in range(8)]


def test_a_page_of_matches_costs_the_same_however_many_there_are(
    client, two, django_assert_num_queries
):
    with django_assert_num_queries(6):
        html(client, "/tiny/2-res/matches/3-res/")


@pytest.mark.parametrize(
    "address",
    ["/tiny/2-res/matches/nobody/", "/tiny/nobody/matches/2-res/", "/no/2-res/matches/3-res/"],
)
def test_a_pair_that_was_not_matched_says_which_were(client, two, address):
    response = client.get(address)
    assert response.status_code == 404
    if "/2-res/matches/nobody" in address:
        assert Page(response).has('a[href="/tiny/2-res/matches/3-res/"]')


@pytest.mark.parametrize("query", ["order=beauty", "cursor=nonsense", "cursor=%00", "order=%00"])
def test_a_wrong_query_of_matches_is_told(client, two, query):
    page = html(client, f"/tiny/2-res/matches/3-res/?{query}")
    assert "errorlist" in page
    assert len(matched(page)) == 8


def test_a_feature_names_its_nearest_in_other_saes_on_its_page_and_in_the_api(client, two):
    page = html(client, "/tiny/2-res/6/")
    assert page.has("#main h2", "Nearest in other SAEs")
    assert 'href="/tiny/3-res/1/">3-res/1</a>' in page
    found = client.get("/api/v1/features/tiny/2-res/6/").json()["elsewhere"]
    assert found == [{"sae": "3-res", "index": 1, "cosine": 0.95}]


def test_without_matches_nothing_is_said_of_other_saes(client, planted):
    assert "Nearest in other SAEs" not in html(client, "/tiny/2-res/6/")


def test_a_feature_that_was_deleted_meanwhile_leaves_its_match_readable(client, two):
    Feature.objects.filter(sae=two).delete()
    assert len(matched(html(client, "/tiny/2-res/matches/3-res/"))) == 8


# the API


def test_the_api_lists_pairs_and_their_matches(client, two):
    pairs = client.get("/api/v1/saes/tiny/2-res/matches/").json()["results"]
    assert [(pair["sae"], pair["other"], pair["matched"]) for pair in pairs] == [
        ("2-res", "3-res", 0.375)
    ]
    assert sum(pairs[0]["histogram"]["counts"]) == 8
    rows = client.get("/api/v1/saes/tiny/2-res/matches/3-res/?order=-cosine&limit=2").json()
    assert rows["results"] == [
        {"index": 7, "other_index": 0, "cosine": 1.0},
        {"index": 6, "other_index": 1, "cosine": 0.95},
    ]
    assert client.get(rows["next"]).json()["results"][0]["index"] == 5
    assert client.get("/api/v1/saes/tiny/2-res/matches/nobody/").status_code == 404
    assert client.get("/api/v1/saes/tiny/2-res/matches/3-res/?order=beauty").status_code == 400
