"""Labels, votes and comments through the API: the same rules as on pages, with fields named."""

import pytest

from explorer.models import ApiKey, User
from features.models import Comment, Label, Vote
from features.services import comments as comment_services
from features.services import labels as label_services
from features.services import moderation as moderation_services
from tests import builders
from tests.explorer.api.test_schema import check

pytestmark = pytest.mark.django_db
DAY = {"model": "tiny", "sae": "2-res", "index": 0}


@pytest.fixture
def planted():
    return builders.planted()


@pytest.fixture
def keys(planted):
    """Headers of Ada (staff), Ben and Cleo (members)."""
    ada, ben, _ = builders.cast()
    cleo = User.objects.create_user("cleo")
    return {
        u.username: {"Authorization": f"Bearer {ApiKey.create(u, 'x')[1]}"}
        for u in (ada, ben, cleo)
    }


@pytest.fixture
def send(client, keys):
    def send(method, address, data=None, who="ben"):
        headers = keys.get(who)
        call = getattr(client, method)
        return call(f"/api/v1/{address}", data, content_type="application/json", headers=headers)

    return send


def ben():
    return User.objects.get(username="ben")


def test_a_label_from_proposal_to_withdrawal(send, client):
    schema = client.get("/api/v1/schema/").json()["paths"]
    whole = client.get("/api/v1/schema/").json()
    made = send("post", "labels/", DAY | {"text": " the  word day"})
    assert made.status_code == 201
    check(whole, schema["/api/v1/labels/"]["post"], 201, made.json())
    label = made.json()
    assert (label["text"], label["author"], label["chosen"], label["version"]) == (
        "the word day",
        "ben",
        True,
        1,
    )
    assert made["Location"] == f"/api/v1/labels/{label['id']}/"
    edited = send(
        "patch", f"labels/{label['id']}/", {"text": "day", "version": 1, "note": "shorter"}
    )
    check(whole, schema["/api/v1/labels/{id}/"]["patch"], 200, edited.json())
    assert [(r["text"], r["by"], r["note"]) for r in edited.json()["history"]] == [
        ("the word day", "ben", ""),
        ("day", "ben", "shorter"),
    ]
    late = send("patch", f"labels/{label['id']}/", {"text": "mine", "version": 1}, who="ada")
    assert late.status_code == 409
    assert "edit version 2" in late.json()["error"]["message"]
    assert send("delete", f"labels/{label['id']}/").status_code == 204
    assert client.get(f"/api/v1/labels/{label['id']}/").status_code == 404
    assert Label.objects.get().state == "hidden"


@pytest.mark.parametrize(
    ("change", "field", "status"),
    [
        ({"text": ""}, "text", 400),
        ({"text": "a" * 501}, "text", 400),
        ({"text": "a" * 10_000}, "text", 400),
        ({"text": "\u200b\u202e"}, "text", 400),
        ({"text": None}, "text", 400),
        ({"index": -1}, "index", 400),
        ({"index": "x"}, "index", 400),
        ({"index": 99}, "", 404),
        ({"sae": "no-such"}, "", 404),
        ({"model": "UPPER"}, "", 404),
    ],
)
def test_a_wrong_label_is_refused_with_its_field(send, change, field, status):
    response = send("post", "labels/", DAY | {"text": "day"} | change)
    assert response.status_code == status
    assert list(response.json()["error"]["fields"]) == ([field] if field else [])
    assert not Label.objects.exists()


def test_strangers_change_nothing(send, planted):
    label = label_services.propose(planted.feature(0), "day", by=ben(), weight=1)
    comment = comment_services.comment(planted.feature(0), "hm", by=ben())
    for who, status in ((None, 401), ("cleo", 403)):
        assert (
            send("patch", f"labels/{label.pk}/", {"text": "x", "version": 1}, who=who).status_code
            == status
        )
        assert send("delete", f"labels/{label.pk}/", who=who).status_code == status
        assert (
            send("patch", f"comments/{comment.pk}/", {"text": "x"}, who=who).status_code == status
        )
        assert send("delete", f"comments/{comment.pk}/", who=who).status_code == status
    assert send("post", "labels/", DAY | {"text": "x"}, who=None).status_code == 401
    assert send("post", "votes/", {"label": label.pk, "value": 1}, who=None).status_code == 401
    User.objects.filter(username="cleo").update(suspended="2026-01-01T00:00Z")
    assert send("post", "labels/", DAY | {"text": "x"}, who="cleo").status_code == 403
    assert (Label.objects.get().text, Comment.objects.get().text) == ("day", "hm")


def test_votes(send, planted):
    label = label_services.propose(planted.feature(0), "day", by=ben(), weight=1)
    own = send("post", "votes/", {"label": label.pk, "value": 1})
    assert own.status_code == 400
    assert "your own label" in own.json()["error"]["fields"]["value"][0]
    first = send("post", "votes/", {"label": label.pk, "value": 1}, who="ada")
    again = send("post", "votes/", {"label": label.pk, "value": -1}, who="ada")
    assert (first.status_code, again.status_code, Vote.objects.count()) == (201, 201, 1)
    assert (again.json()["value"], again.json()["weight"]) == (-1, 3)
    assert send("post", "votes/", {"label": label.pk, "value": 2}, who="ada").status_code == 400
    assert send("post", "votes/", {"label": 999, "value": 1}, who="ada").status_code == 404
    assert send("delete", f"votes/{again.json()['id']}/", who="cleo").status_code == 403
    assert send("delete", f"votes/{again.json()['id']}/", who="ada").status_code == 204
    assert not Vote.objects.exists()


def test_comments(send, planted):
    other = label_services.propose(planted.feature(1), "self", by=ben(), weight=1)
    made = send("post", "comments/", DAY | {"text": "one\n\ntwo"})
    assert (made.status_code, made.json()["text"]) == (201, "one\n\ntwo")
    pk = made.json()["id"]
    answer = send("post", "comments/", DAY | {"text": "three", "parent": pk}, who="ada")
    assert answer.json()["parent"] == pk
    astray = send("post", "comments/", DAY | {"text": "x", "label": other.pk})
    assert list(astray.json()["error"]["fields"]) == ["label"]
    elsewhere = send("post", "comments/", DAY | {"index": 1, "text": "x", "parent": pk})
    assert list(elsewhere.json()["error"]["fields"]) == ["parent"]
    assert send("post", "comments/", DAY | {"text": "x", "parent": 999}).status_code == 404
    assert send("post", "comments/", DAY | {"text": "x" * 5001}).status_code == 400
    assert send("patch", f"comments/{pk}/", {"text": "uno"}).json()["edited"]
    assert send("delete", f"comments/{pk}/").status_code == 204
    assert Comment.objects.count() == 2, "its place stays, as it was answered"
    assert send("get", f"comments/{pk}/").status_code == 404


def test_lists_are_narrowed_and_leave_out_what_is_hidden(client, planted, keys):
    other = builders.planted(slug="other")
    ada = User.objects.get(username="ada")
    day = label_services.propose(planted.feature(0), "day", by=ben(), weight=1)
    label_services.propose(planted.feature(1), "self", by=ada, weight=3)
    label_services.propose(other.feature(0), "day", by=ben(), weight=1)
    comment_services.comment(planted.feature(0), "hm", by=ben(), label=day)

    def count(address):
        return len(client.get(f"/api/v1/{address}").json()["results"])

    asked = [
        "",
        "model=tiny",
        "model=tiny&sae=2-res&index=0",
        "author=ben",
        "method=person",
        "method=concept",
        "author=x",
    ]
    assert [count(f"labels/?{query}") for query in asked] == [3, 2, 1, 2, 3, 0, 0]
    assert [
        count(f"comments/?{query}") for query in ("", f"label={day.pk}", "author=ada", "index=1")
    ] == [1, 1, 0, 0]
    moderation_services.hide(day, by=ada)
    assert count("labels/") == 2
    assert client.get("/api/v1/labels/", {"label": 1}).status_code == 400
    assert client.get("/api/v1/labels/", {"author": "\x00"}).status_code == 400


def test_lists_cost_the_same_for_ten_rows_and_for_twenty(
    client, planted, keys, django_assert_max_num_queries
):
    ada, costs = User.objects.get(username="ada"), []
    for start in (0, 10):
        for i in range(start, start + 10):
            label = label_services.propose(planted.feature(i % 3), f"label {i}", by=ben(), weight=1)
            label_services.vote(label, 1, by=ada, weight=3)
            comment_services.comment(planted.feature(i % 3), "hm", by=ada, label=label)
        with django_assert_max_num_queries(9) as queries:
            for noun in ("labels", "votes", "comments"):
                assert client.get(f"/api/v1/{noun}/?limit=200").status_code == 200
        costs.append(len(queries))
    assert costs[0] == costs[1]


def test_a_feature_holds_its_label_and_all_of_them(client, planted, keys):
    ada = User.objects.get(username="ada")
    label_services.propose(planted.feature(0), "day", by=ben(), weight=1)
    label_services.propose(planted.feature(0), "beginnings", by=ada, weight=3)
    feature = client.get("/api/v1/features/tiny/2-res/0/").json()
    assert feature["label"]["text"] == "beginnings"
    assert [label["text"] for label in feature["labels"]] == ["beginnings", "day"]
    (row,) = client.get("/api/v1/features/tiny/2-res/?has_label=true").json()["results"]
    assert (row["label"], row["disputed"]) == ("beginnings", False)
