"""The feed, what is disputed, the queue and people's pages: what they list, in which order, at what
cost.
"""

import re
from datetime import UTC, datetime

import pytest
from django.test import Client

from explorer.models import User
from features.models import Feature, Label, Vote
from features.selectors import activity
from features.services import comments as comment_services
from features.services import labels as label_services
from tests import builders
from tests.page import Page

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def planted():
    return builders.planted()


@pytest.fixture
def people(planted):
    ada, ben, _ = builders.cast()
    return ada, ben


def as_(user) -> Client:
    client = Client()
    client.force_login(user)
    return client


def html(client, address, **data):
    response = client.get(address, data)
    assert response.status_code == 200, response.content[:300]
    return Page(response)


def lines(page):
    return [
        re.sub(r"<[^>]+>|\s+", " ", li).split()
        for li in re.findall(r"<li [^>]*class=.*?</li>", page, re.DOTALL)
    ]


def test_the_feed_tells_who_did_what_newest_first(client, planted, people):
    ada, ben = people
    label = label_services.propose(planted.feature(0), "day", by=ben, weight=1)
    label_services.edit(label, "the word day", seen=1, by=ada)
    label_services.vote(label, -1, by=ada, weight=3)
    comment_services.comment(planted.feature(1), "what is this", by=ada)
    told = [" ".join(line[:3]) for line in lines(html(client, "/labels/"))]
    assert told == [
        "ada commented on",
        "ada voted against",
        "ada edited the",
        "ben labelled tiny/2-res/0",
    ]


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ({}, 3),
        ({"user": "ben"}, 2),
        ({"user": "ada"}, 1),
        ({"model": "tiny"}, 2),
        ({"sae": "other/2-res"}, 1),
        ({"sae": "tiny/2-res", "user": "ada"}, 1),
    ],
)
def test_the_feed_is_narrowed_by_model_sae_and_person(client, planted, people, asked, count):
    ada, ben = people
    elsewhere = builders.planted(slug="other")
    label_services.propose(planted.feature(0), "day", by=ben, weight=1)
    label_services.propose(planted.feature(0), "night", by=ada, weight=3)
    label_services.propose(elsewhere.feature(0), "day", by=ben, weight=1)
    assert len(lines(html(client, "/labels/", **asked))) == count


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"user": "nobody"}, "There is no user of that name"),
        ({"user": "a" * 200}, "at most 150"),
        ({"user": "\x00"}, "Null characters"),
        ({"sae": "no/such"}, "Select a valid choice"),
        ({"after": "yesterday"}, "start again without it"),
        ({"after": "2026-13-45~label~1"}, "start again without it"),
        ({"after": "2026-01-01T00:00:00Z~job~1"}, "start again without it"),
        ({"after": "2026-01-01T00:00:00Z~label~x"}, "start again without it"),
    ],
)
def test_a_wrong_filter_is_said(client, planted, people, asked, said):
    assert html(client, "/labels/", **asked).has("#feed [role=alert]", said)


def test_the_feed_goes_on_where_it_ended(client, planted, people):
    _, ben = people
    for i in range(50):
        label_services.propose(planted.feature(i % 3), f"label {i}", by=ben, weight=1)
    page = html(client, "/labels/")
    assert len(lines(page)) == 41, "40 and the button"
    after = re.search(r'href="\?after=([^"]+)"', page)[1]
    rest = Page(
        client.get(f"/labels/?after={after}", headers={"HX-Request": "true", "HX-Target": "more"})
    )
    assert "<html" not in rest
    assert len(lines(rest)) == 10


def test_nothing_of_one_instant_is_skipped(client, planted, people):
    ada, ben = people
    for i in range(30):
        label = label_services.propose(planted.feature(i % 3), f"label {i}", by=ben, weight=1)
        Vote.objects.create(label=label, user=ada, value=1, version=label.version, weight=1)
    Label.objects.update(created=NOON)
    Vote.objects.update(at=NOON)
    whole = activity.feed(limit=1000)
    seen, after = [], None
    while found := activity.feed(after=after, limit=7):
        seen += found
        after = activity.FeedPosition.read(str(found[-1].position))
    assert [line.position for line in seen] == [line.position for line in whole]
    assert len({line.position for line in whole}) == len(whole) >= 60


def test_disputed_features_with_what_people_stand_for(client, planted, people):
    ada, ben = people
    label_services.propose(planted.feature(0), "day", by=ben, weight=1)
    assert html(client, "/labels/disputed/").has("#main p", "No feature is disputed")
    label_services.propose(planted.feature(0), "beginnings", by=ada, weight=1)
    page = html(client, "/labels/disputed/")
    assert page.has("#main td", "beginnings")
    assert page.has("#main td", "day")
    assert html(client, "/labels/disputed/", cursor="nonsense")


@pytest.mark.parametrize(
    "address",
    [
        "/labels/",
        "/labels/disputed/",
        "/labels/by/ben/",
        "/labels/moderation/",
        "/tiny/2-res/?alive=all",
    ],
)
def test_lists_cost_the_same_for_ten_rows_and_for_twenty(address, django_assert_max_num_queries):
    planted = builders.planted(width=24)
    ada, ben, _ = builders.cast()
    costs = []
    for start in (0, 10):
        for i in range(start, start + 10):
            label = label_services.propose(planted.feature(i), f"label {i}", by=ben, weight=1)
            label_services.propose(planted.feature(i), f"other {i}", by=ada, weight=1)
            label_services.edit(label, f"label {i} again", seen=1, by=ben)
            label_services.vote(label, 1, by=ada, weight=3)
            comment_services.comment(planted.feature(i), "hm", by=ben, label=label)
        me = as_(ada)
        html(me, address)  # reads what a process keeps: tokens, and the picture of a map
        with django_assert_max_num_queries(99) as queries:
            html(me, address)
        costs.append(len(queries))
    assert costs[0] == costs[1] <= 16


def test_a_persons_page_counts_what_they_did(client, planted, people):
    ada, ben = people
    first = label_services.propose(planted.feature(0), "day", by=ben, weight=1)
    label_services.propose(planted.feature(0), "night", by=ada, weight=3)
    label_services.vote(first, -1, by=ada, weight=3)
    comment_services.comment(planted.feature(0), "x", by=ada)
    facts = re.findall(r"<dt>(\w+)</dt><dd>(\d+)</dd>", html(client, "/labels/by/ada/"))
    assert facts == [("Labels", "1"), ("Chosen", "1"), ("Votes", "1"), ("Comments", "1")]
    assert client.get("/labels/by/nobody/").status_code == 404
    assert client.get("/labels/by/%00/").status_code == 404


def queue_feature(page):
    found = re.search(r'aria-label="Feature (\d+)"', page)
    return int(found[1]) if found else None


def test_the_queue_is_worked_one_after_the_other(planted, people):
    _, ben = people
    Feature.objects.filter(sae=planted.sae).update(density=0.01)
    for index, density in ((0, 0.02), (1, 0.05), (2, 0.5), (4, 1e-6)):
        Feature.objects.filter(sae=planted.sae, index=index).update(density=density)
    me, seen = as_(ben), []
    page = html(me, "/labels/queue/")
    while (index := queue_feature(page)) is not None:
        seen.append(index)
        response = me.post(
            "/labels/queue/?sae=tiny/2-res", {"index": index, "text": f"label {index}"}
        )
        assert response.status_code == 302
        page = html(me, response["Location"])
    assert seen == [1, 0, 5, 6, 7], "densest first; 3 is dead, 2 too dense and 4 too rare"
    assert Label.objects.count() == 5
    assert page.has("#queue p", "none is disputed")


def test_the_queue_skips_and_begins_again(planted, people):
    _, ben = people
    Feature.objects.filter(sae=planted.sae).update(density=0.01)
    me = as_(ben)
    page, seen = html(me, "/labels/queue/"), []
    while (index := queue_feature(page)) is not None:
        seen.append(index)
        after = re.search(r'name="next" value="([^"]*)"', page)[1]
        response = me.post(
            "/labels/queue/?sae=tiny/2-res", {"index": index, "text": " ", "next": after}
        )
        if not after:
            break
        page = html(me, response["Location"])
    assert seen == [0, 1, 2, 4, 5, 6, 7]
    assert not Label.objects.exists()


def test_after_a_label_the_queue_stays_where_it_was(planted, people):
    _, ben = people
    Feature.objects.filter(sae=planted.sae).update(density=0.01)
    me = as_(ben)
    page = html(me, "/labels/queue/")
    after = re.search(r'name="next" value="([^"]*)"', page)[1]
    page = html(me, "/labels/queue/", sae="tiny/2-res", after=after)
    assert queue_feature(page) == 1
    headers = {"HX-Request": "true", "HX-Target": "queue"}
    fragment = me.post(
        "/labels/queue/?sae=tiny/2-res",
        {"index": 1, "text": "self", "here": after},
        headers=headers,
    )
    assert queue_feature(Page(fragment)) == 2
    assert "<html" not in Page(fragment)


def test_disputed_features_come_last_and_not_to_who_had_a_say(planted, people):
    ada, ben = people
    Feature.objects.filter(sae=planted.sae).update(density=1e-6)
    label_services.propose(planted.feature(0), "day", by=ben, weight=1)
    label_services.propose(planted.feature(0), "night", by=ada, weight=1)
    cleo = User.objects.create_user("cleo")
    page = html(as_(cleo), "/labels/queue/")
    assert queue_feature(page) == 0
    assert page.has("main", "night")
    assert queue_feature(html(as_(ben), "/labels/queue/")) is None
    label_services.vote(Label.objects.first(), 1, by=cleo, weight=1)
    assert queue_feature(html(as_(cleo), "/labels/queue/")) is None


def test_the_queue_says_what_is_wrong_and_keeps_the_text(client, planted, people):
    _, ben = people
    Feature.objects.filter(sae=planted.sae).update(density=0.01)
    me = as_(ben)
    long = me.post("/labels/queue/?sae=tiny/2-res", {"index": 0, "text": "c" * 501})
    assert long.status_code == 422
    assert "c" * 501 in Page(long)
    assert me.get("/labels/queue/", {"sae": "no/such"}).status_code == 404
    assert html(me, "/labels/queue/", sae="tiny/2-res", after="nonsense").has(
        "#queue [role=alert]", "damaged"
    )
    assert me.post("/labels/queue/?sae=tiny/2-res", {"index": "x", "text": "y"}).status_code == 404
    away = client.post("/labels/queue/?sae=tiny/2-res", {"index": 0, "text": "mine"})
    assert away["Location"].startswith("/accounts/login/")
    client.force_login(ben)
    assert html(client, "/labels/queue/", sae="tiny/2-res").has('input[value="mine"]')


def test_an_empty_instance_has_empty_lists(client, db):
    for address in ("/labels/", "/labels/queue/", "/labels/disputed/"):
        assert html(client, address)


def test_the_saes_page_shows_labels_and_filters_by_them(client, planted, people):
    ada, ben = people
    label_services.propose(planted.feature(0), "the word day", by=ben, weight=1)
    label_services.propose(planted.feature(0), "or not", by=ada, weight=1)
    page = html(client, "/tiny/2-res/", has_label="yes")
    assert page.has("#features td", "the word day")
    assert "disputed</small>" in page
    assert page.count('class="cell-label"') == 1
    assert "the word day" not in html(client, "/tiny/2-res/", has_label="no")
    rows = client.get("/api/v1/features/tiny/2-res/", {"has_label": "true"}).json()["results"]
    assert [row["index"] for row in rows] == [0]
    assert (
        len(client.get("/api/v1/features/tiny/2-res/", {"has_label": "false"}).json()["results"])
        == 7
    )
