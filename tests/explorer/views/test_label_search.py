"""The search by labels, on its page and in the API: words, prefixes, typos, signs, filters, and
whatever people type.
"""

import html as markup
import re
from typing import Any

import pytest
from django.db import connection

from explorer.models import User
from features.models import Feature, Label
from features.records import InvalidInput
from features.selectors import label_query, label_ranking, label_search
from features.services import labels as label_services
from tests import builders
from tests.page import Page

pytestmark = pytest.mark.django_db

SAYINGS = {
    0: ["closing brackets", "the sign ) after an argument"],
    1: ["self in a method"],
    2: ["<b>HTML</b> tags"],
    4: ["names of closed files"],
    5: ["if and not, keywords"],
    6: ["imports of café modules"],
}


@pytest.fixture
def planted() -> builders.Planted:
    made = builders.planted()
    _, ben, _ = builders.cast()
    for index, texts in SAYINGS.items():
        for text in texts:
            label_services.propose(made.feature(index), text, by=ben, weight=1)
    return made


def get(client: Any, q: str, **query: Any) -> str:
    response = client.get("/search/", {"q": q, **query})
    assert response.status_code == 200
    return str(Page(response))


def found(page: str) -> list[int]:
    """Indices of the features that the table lists."""
    return [
        int(i)
        for i in re.findall(
            r'<td class="search-pick">.*?href="/tiny/2-res/(\d+)/"', page, re.DOTALL
        )
    ]


def marked(page: str) -> list[str]:
    return [markup.unescape(word) for word in re.findall(r"<mark>(.*?)</mark>", page)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("closing brackets", [0]),
        ("brackets closing", [0]),
        ("bracket", [0]),
        ("BRACK", [0]),
        ("close", [0, 4]),
        ("closed", [4, 0]),
        (")", [0]),
        ("if", [5]),
        ("and not", [5]),
        ("i", []),
        ("html tag", [2]),
        ("café", [6]),
        ("nothing such", []),
    ],
)
def test_words_stems_prefixes_signs_and_words_that_others_call_stop_words(
    client: Any, planted: Any, query: str, expected: list[int]
) -> None:
    assert found(get(client, query)) == expected


@pytest.mark.parametrize("typo", ["brakets", "braackets", "bracktes", "brockets", "vrackets"])
def test_a_typo_is_forgiven_and_told(client: Any, planted: Any, typo: str) -> None:
    page = get(client, typo)
    assert found(page) == [0]
    assert f"No label has “{typo}”; searched for <b>brackets</b>" in page
    assert marked(page) == ["brackets"]


def test_a_word_that_labels_have_is_no_typo(client: Any, planted: Any) -> None:
    assert "searched for" not in get(client, "names")
    assert found(get(client, "selv")) == [1]
    Label.objects.filter(text="self in a method").update(text="selves in a method")
    assert found(get(client, "selves")) == [1], "edited words are learnt"


def test_where_no_label_has_every_word_some_are_found_and_it_is_said(
    client: Any, planted: Any
) -> None:
    page = get(client, "closing files brackets")
    assert found(page) == [0, 4], "words themselves before other forms of them"
    assert "No label has every word; these have some" in page


def test_common_words_only_rank_labels_that_have_a_rarer_one(
    planted: Any, monkeypatch: Any
) -> None:
    author = User.objects.get(username="ben")
    for n in range(40):
        label_services.propose(
            planted.feature((0, 1, 2, 4)[n % 4]), f"word {n} of zebraic texts", by=author, weight=1
        )
    label_services.propose(planted.feature(5), "plain quaggas", by=author, weight=1)
    label_services.propose(planted.feature(6), "word for quaggas", by=author, weight=1)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE features_label")
    said = "quagga zebr word"
    assert len(label_search.search_words(said, None, {}).hits) == 42
    monkeypatch.setattr(label_search, "MAX_EXPECTED_ROWS", 30)
    some = label_search.search_words(said, None, {})
    texts = Label.objects.in_bulk([hit.label for hit in some.hits])
    assert some.some
    assert [texts[hit.label].text for hit in some.hits] == ["word for quaggas", "plain quaggas"]
    assert label_search.search_words("zz quagga word", None, {}).hits == some.hits, (
        "a word that none has is no rare one"
    )
    without = label_search.search_words("word zebr tags", None, {"method": "nobody's"})
    assert without.hits == []
    Label.objects.filter(text__endswith="quaggas").update(method="other")
    alone = label_search.search_words(said, None, {"method": Label.PERSON})
    assert len(alone.hits) == 40, "where no label has a rarer one, common words find"


def test_one_row_a_feature_with_all_its_labels_that_match_and_the_words_marked(
    client: Any, planted: Any
) -> None:
    ben = User.objects.get(username="ben")
    label_services.propose(planted.feature(0), "a bracket that closes", by=ben, weight=1)
    page = get(client, "closing bracket")
    assert found(page) == [0]
    assert marked(page) == ["closing", "brackets", "bracket", "closes"]
    assert "after an argument" not in page


def test_labels_are_text_and_never_markup(client: Any, planted: Any) -> None:
    page = get(client, "html")
    assert "&lt;</mark>" not in page
    assert "&lt;b&gt;<mark>HTML</mark>&lt;/b&gt; tags" in page
    assert "<b>HTML" not in page


def test_the_names_of_saes_among_the_words_are_no_words(client: Any, planted: Any) -> None:
    assert found(get(client, "sae")) == []


@pytest.mark.parametrize("words", [label_query.MAX_COMPLETIONS, label_query.MAX_COMPLETIONS + 1])
def test_a_beginning_finds_every_word_that_begins_so_however_many(
    client: Any, planted: Any, words: int
) -> None:
    author = User.objects.get(username="ben")
    for n in range(words):
        label_services.propose(
            planted.feature((0, 1, 2, 4)[n % 4]), f"zebra{n:03}", by=author, weight=1
        )
    hits = label_search.search_words("zeb", None, {}).hits
    assert len({hit.label for hit in hits}) == words
    (word,) = label_query.parse_label_query("zeb").words
    assert (":*" in word.tsquery()) == (words > label_query.MAX_COMPLETIONS)


def test_hidden_labels_are_not_found(client: Any, planted: Any) -> None:
    Label.objects.filter(text="closing brackets").update(state=Label.State.HIDDEN)
    assert found(get(client, "brackets")) == []


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"model": "tiny"}, [0, 4]),
        ({"model": "tiny", "sae": "2-res"}, [0, 4]),
        ({"layer": "2"}, [0, 4]),
        ({"density_min": "10%"}, [0]),
        ({"density_max": "10%"}, [4]),
        ({"score_min": "0.6"}, [4]),
        ({"causal_min": "0.5"}, [4]),
        ({"causal_max": "0.5"}, [0]),
        ({"order": "-causal_effect"}, [4, 0]),
        ({"author": "ben"}, [0, 4]),
        ({"author": "ada"}, []),
        ({"alive": "no"}, []),
        ({"alive": "yes"}, [0, 4]),
        ({"order": "density"}, [4, 0]),
        ({"order": "-score"}, [4, 0]),
    ],
)
def test_filters_and_orders(
    client: Any, planted: Any, filters: dict[str, str], expected: list[int]
) -> None:
    Feature.objects.filter(index=0).update(density=0.2)
    Feature.objects.filter(index=4).update(density=0.01, causal_effect=1.5)
    Label.objects.filter(feature__index=4).update(score=0.8)
    assert found(get(client, "close", **filters)) == expected


@pytest.mark.parametrize(
    ("filters", "told"),
    [
        ({"model": "nope"}, "There is no model “nope”"),
        ({"layer": "99"}, "99 is not one of the available choices"),
        ({"density_min": "x"}, "Write a share"),
        ({"density_min": "5%", "density_max": "1%"}, "ends before it begins"),
        ({"causal_min": "nan"}, "Enter a number"),
        ({"order": "magic"}, "magic is not one of the available choices"),
        ({"mode": "magic"}, "magic is not one of the available choices"),
        ({"limit": "0"}, "greater than or equal to 1"),
        ({"author": "\0"}, "Null characters are not allowed"),
    ],
)
def test_a_wrong_filter_is_told_beside_its_name(
    client: Any, planted: Any, filters: dict[str, str], told: str
) -> None:
    assert told in get(client, "close", **filters)


ANYTHING = [
    "&",
    "|",
    "!",
    ":*",
    "a:*b",
    "((",
    "'",
    "''",
    "\\",
    "'; DROP TABLE features_label; --",
    "<->",
    "a <-> b",
    "%",
    "_",
    "%s",
    "{{ x }}",
    "<script>alert(1)</script>",
    "🙂",
    "שלום עולם",
    "日本",
    "\u202eabc",
    "\u200b",
    " ",
    "\r\n",
    "sae:1",
    "x" * 500,
    "e\u0301",
    "ǆ",
    "İ",
    "½",
    "a" * 41,
]


@pytest.mark.parametrize("query", ANYTHING)
def test_any_query_is_taken_as_it_is(client: Any, planted: Any, query: str) -> None:
    page = get(client, query)
    assert "<script>alert(1)" not in page
    ben = User.objects.get(username="ben")
    try:
        label = label_services.propose(planted.feature(7), f"{query} zebra", by=ben, weight=1)
    except InvalidInput:
        return
    assert found(get(client, label.text[:500])) == [7], "a label is found by its own words"


@pytest.mark.parametrize(
    ("query", "told"), [("x" * 100_000, "At most 500 characters"), ("a\0b", "Null characters")]
)
def test_what_cannot_be_searched_is_refused_with_the_way_on(
    client: Any, planted: Any, query: str, told: str
) -> None:
    assert told in get(client, query)


def test_an_empty_query_shows_the_form(client: Any, planted: Any) -> None:
    assert "Search what features mean" in get(client, "")
    assert Page(client.get("/search/")).has("#results p", "Search what features mean")


def test_a_feature_deleted_meanwhile_is_left_out(planted: Any) -> None:
    words = label_search.search_words("close", None, {})
    planted.feature(0).delete()
    merged = label_ranking.merge(words.query, words.hits, [], limit=50)
    assert [row.feature.index for row in merged.rows] == [4]


@pytest.mark.parametrize("order", ["", "density"])
def test_pages_follow_each_other_without_script(client: Any, planted: Any, order: str) -> None:
    ben = User.objects.get(username="ben")
    for index in (0, 1, 2, 4, 5):
        label_services.propose(planted.feature(index), "of a kind", by=ben, weight=1)
    whole = found(get(client, "kind", order=order))
    seen, address = [], f"/search/?q=kind&limit=2&order={order}"
    for _ in range(3):
        page = Page(client.get(address))
        assert page.has("#results p", "5 features")
        seen += found(page)
        link = re.search(r'href="(\?[^"]*)" rel="next"', page)
        address = f"/search/{markup.unescape(link[1])}" if link else ""
    assert seen == whole
    assert len(seen) == 5
    assert not address, "the last page has no next"
    beyond = Page(client.get(f"/search/?q=kind&start=900&order={order}"))
    assert beyond.has("#results p", "There are no more features")
    assert 'href="?q=kind' in beyond
    answer = client.get(
        "/api/v1/search/labels/", {"q": "kind", "mode": "text", "limit": 2, "start": 4}
    ).json()
    assert (answer["features"], len(answer["results"])) == (5, 1)


def test_more_labels_cost_no_more_queries(
    client: Any, planted: Any, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(8):
        get(client, "closing")
    ben = User.objects.get(username="ben")
    for feature in Feature.objects.exclude(index=3):
        for number in range(3):
            label_services.propose(feature, f"closing {number}", by=ben, weight=1)
    with django_assert_num_queries(8):
        get(client, "closing")


@pytest.mark.parametrize(
    ("first", "second", "near"),
    [
        ("abcd", "abd", True),
        ("abcd", "abcde", True),
        ("abcd", "abxd", True),
        ("abcd", "acbd", True),
        ("abcd", "abcd", False),
        ("abcd", "badc", False),
        ("abcd", "abxy", False),
        ("abcd", "ab", False),
        ("abcd", "bcd", True),
        ("abcd", "bacd", True),
    ],
)
def test_one_typo(first: str, second: str, near: bool) -> None:
    assert label_query.one_typo(first, second) is near
    assert label_query.one_typo(second, first) is near


def test_the_api_gives_the_same(client: Any, planted: Any) -> None:
    answer = client.get("/api/v1/search/labels/", {"q": "closing braket", "mode": "text"}).json()
    assert answer["corrections"] == [{"word": "braket", "instead": ["bracket"]}]
    (row,) = answer["results"]
    assert (row["model"], row["sae"], row["index"], row["url"]) == (
        "tiny",
        "2-res",
        0,
        "/tiny/2-res/0/",
    )
    assert (row["by_words"], row["by_meaning"]) == (1, None)
    (label,) = row["labels"]
    assert (label["text"], label["method"], label["author"], label["score"]) == (
        "closing brackets",
        "person",
        "ben",
        None,
    )
    assert [part["text"] for part in label["parts"] if part["hit"]] == ["closing", "brackets"]
    assert "".join(part["text"] for part in label["parts"]) == label["text"]
    typo = client.get("/api/v1/search/labels/", {"q": "bracktes", "mode": "text"}).json()
    assert typo["corrections"] == [{"word": "bracktes", "instead": ["brackets"]}]


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("", 400, "q"),
        ("q=", 400, "q"),
        ("q=a%00b", 400, "q"),
        ("q=" + "x" * 501, 400, "q"),
        ("q=a&limit=0", 400, "limit"),
        ("q=a&start=-1", 400, "start"),
        ("q=a&nonsense=1", 400, "nonsense"),
        ("q=a&cursor=abc", 400, "cursor"),
        ("q=a&mode=magic", 400, "mode"),
        ("q=a&order=magic", 400, "order"),
        ("q=a&density_min=2", 400, "density_min"),
        ("q=a&score_min=nan", 400, "score_min"),
        ("q=a&layer=x", 400, "layer"),
        ("q=a&model=nope", 404, None),
        ("q=a&sae=nope", 404, None),
        ("q=a&model=tiny&sae=nope", 404, None),
    ],
)
def test_the_api_refuses_what_is_wrong(
    client: Any, planted: Any, query: str, status: int, field: str | None
) -> None:
    response = client.get(f"/api/v1/search/labels/?{query}")
    assert response.status_code == status, response.content
    assert field is None or field in response.json()["error"]["fields"]


@pytest.fixture
def meaning(monkeypatch: Any, planted: Any) -> list[Any]:
    """Feature 5's label means what is asked, and that of 0 nearly; what was asked is kept."""
    asked: list[Any] = []

    def search_meaning(said: str, saes: Any, filters: Any) -> list[label_search.Hit]:
        asked.append((said, filters))
        of = {
            label.feature.index: label
            for label in Label.objects.select_related("feature").order_by("id")
        }
        return [
            label_search.Hit(of[5].feature_id, of[5].pk, 0.9),
            label_search.Hit(of[0].feature_id, of[0].pk, 0.5),
        ]

    monkeypatch.setattr(label_search, "search_meaning", search_meaning)
    return asked


def test_words_come_at_once_and_meaning_a_moment_later(
    client: Any, planted: Any, meaning: Any
) -> None:
    page = get(client, "close")
    assert found(page) == [0, 4]
    assert meaning == []
    later = re.search(r'role="status" hx-get="(.+?)" hx-trigger="load"', page)
    assert later
    assert '<noscript><a href="?q=close&amp;mode=hybrid">' in page
    page = Page(
        client.get(
            markup.unescape(later[1]), headers={"HX-Request": "true", "HX-Target": "results"}
        )
    )
    assert page.strip().startswith('<div id="results"')
    assert found(page) == [0, 5, 4]
    assert "hx-get" not in page[page.index('role="status"') : page.index("</p>")]
    assert meaning == [("close", {})]
    assert '<noscript><input type="hidden" name="mode" value="hybrid"></noscript>' in get(
        client, "close"
    )


def test_ranks_are_merged_by_their_reciprocals(planted: Any, meaning: Any) -> None:
    words = label_search.search_words("close", None, {})
    merged = label_ranking.merge(
        words.query, words.hits, label_search.search_meaning("close", None, {}), limit=50
    )
    assert [(row.feature.index, row.by_words, row.by_meaning) for row in merged.rows] == [
        (0, 1, 2),
        (5, None, 1),
        (4, 2, None),
    ]
    assert [row.merged for row in merged.rows] == pytest.approx([1 / 61 + 1 / 62, 1 / 61, 1 / 62])
    assert [said.cosine for said in merged.rows[0].labels] == [None, 0.5], (
        "both of its labels that were found"
    )


def test_labels_with_some_of_the_words_go_where_meaning_finds_any(
    client: Any, planted: Any, meaning: Any
) -> None:
    assert found(get(client, "creatures of names")) == [4, 6]
    page = get(client, "creatures of names", mode="hybrid")
    assert found(page) == [5, 0]
    assert "no label has every word" not in page


def test_meaning_alone(client: Any, planted: Any, meaning: Any) -> None:
    page = get(client, "close", mode="semantic", alive="yes")
    assert found(page) == [5, 0]
    assert "means 0.90" in page
    assert meaning == [("close", {"alive": True})]
    answer = client.get("/api/v1/search/labels/?q=close&mode=semantic").json()
    assert [(row["index"], row["by_words"], row["by_meaning"]) for row in answer["results"]] == [
        (5, None, 1),
        (0, None, 2),
    ]
    assert answer["results"][0]["labels"][0]["cosine"] == 0.9


def test_where_nobody_can_tell_the_meaning_words_still_find(client: Any, planted: Any) -> None:
    page = get(client, "close", mode="hybrid")
    assert found(page) == [0, 4]
    assert "Meaning was not searched: No worker of the queue “inference” is running" in page
    assert 'hx-trigger="load"' not in page
    answer = client.get("/api/v1/search/labels/?q=close").json()
    assert len(answer["results"]) == 2
    assert "No worker" in answer["meaning"]
    refused = client.get("/api/v1/search/labels/?q=close&mode=semantic")
    assert refused.status_code == 503
    assert "No worker" in refused.json()["error"]["message"]


def test_without_an_embedder_nothing_is_asked_later(
    client: Any, planted: Any, settings: Any
) -> None:
    settings.EMBEDDER = "off"
    page = get(client, "close")
    assert found(page) == [0, 4]
    assert 'hx-trigger="load"' not in page
