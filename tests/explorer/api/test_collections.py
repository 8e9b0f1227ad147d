"""Collections in the API: made, filled, ordered, read, deleted, by whom, and what is refused."""

from typing import Any

import pytest

from explorer.models import ApiKey
from features.models import Collection
from features.services import collections as collection_services
from tests import builders

pytestmark = pytest.mark.django_db
AT = "/api/v1/collections/"


@pytest.fixture
def keys() -> dict[str, dict[str, str]]:
    builders.planted()
    ada, ben, _ = builders.cast()
    users = {"ada": ada, "ben": ben}
    return {
        name: {"Authorization": f"Bearer {ApiKey.create(user, 'x')[1]}"}
        for name, user in users.items()
    } | {"cam": {}}


def send(client: Any, method: str, address: str, headers: dict[str, str], body: Any = None) -> Any:
    return getattr(client, method)(address, body, content_type="application/json", headers=headers)


def test_from_made_to_deleted(client: Any, keys: Any) -> None:
    made = send(client, "post", AT, keys["ben"], {"name": "Days", "about": "of the week"})
    assert made.status_code == 201
    address = f"{AT}{made.json()['id']}/"
    assert made["Location"] == address
    filled = send(
        client,
        "post",
        f"{address}items/",
        keys["ben"],
        {"features": ["tiny/2-res/0", "tiny/2-res/1,2"], "note": "n"},
    )
    assert filled.status_code == 200
    assert [(row["index"], row["note"]) for row in filled.json()["features"]] == [
        (0, "n"),
        (1, "n"),
        (2, "n"),
    ]
    last = filled.json()["features"][2]["id"]
    moved = send(
        client, "patch", f"{address}items/{last}/", keys["ben"], {"place": 1, "note": ""}
    ).json()
    assert [(row["index"], row["note"]) for row in moved["features"]] == [
        (2, ""),
        (0, "n"),
        (1, "n"),
    ]
    assert send(client, "delete", f"{address}items/{last}/", keys["ben"]).status_code == 204
    assert client.get(address).status_code == 404, "it is private"
    shared = send(client, "patch", address, keys["ben"], {"public": True}).json()
    assert (shared["name"], shared["about"], shared["count"], shared["owner"]) == (
        "Days",
        "of the week",
        2,
        "ben",
    )
    assert client.get(address).json() == shared
    assert [row["id"] for row in client.get(AT).json()["results"]] == [shared["id"]]
    assert send(client, "delete", address, keys["ben"]).status_code == 204
    assert client.get(address).status_code == 404


def test_nobody_else_writes(client: Any, keys: Any) -> None:
    row = collection_services.create(
        "Days", by=ApiKey.objects.get(user__username="ben").user, public=True
    )
    address = f"{AT}{row.pk}/"
    for name, status in (("cam", 401), ("ada", 403)):
        assert send(client, "patch", address, keys[name], {"name": "x"}).status_code == status
        assert send(client, "delete", address, keys[name]).status_code == status
        assert (
            send(
                client, "post", f"{address}items/", keys[name], {"features": ["tiny/2-res/0"]}
            ).status_code
            == status
        )
    assert send(client, "post", AT, keys["cam"], {"name": "x"}).status_code == 401
    collection_services.change(row, public=False)
    assert send(client, "get", address, keys["ada"]).status_code == 404
    assert send(client, "patch", address, keys["ada"], {"name": "x"}).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "field"),
    [
        ("post", "", {}, 400, "name"),
        ("post", "", {"name": ""}, 400, "name"),
        ("post", "", {"name": "x" * 101}, 400, "name"),
        ("post", "", {"name": "\u200b"}, 400, "name"),
        ("post", "", {"name": "a\0"}, 400, "name"),
        ("post", "1/items/", {}, 400, "features"),
        ("post", "1/items/", {"features": []}, 400, "features"),
        ("post", "1/items/", {"features": ["nope"]}, 400, "features"),
        ("post", "1/items/", {"features": ["tiny/2-res/99"]}, 400, "features"),
        ("post", "1/items/", {"features": "tiny/2-res/0"}, 400, "features"),
        ("patch", "1/items/99/", {"note": "x"}, 404, None),
        ("patch", "99/", {"name": "x"}, 404, None),
        ("get", "?mine=perhaps", None, 400, "mine"),
        ("get", "?cursor=abc", None, 400, "cursor"),
        ("get", "?nonsense=1", None, 400, "nonsense"),
    ],
)
def test_what_is_wrong_is_refused(
    client: Any, keys: Any, method: str, path: str, body: Any, status: int, field: str | None
) -> None:
    row = collection_services.create("Days", by=ApiKey.objects.get(user__username="ben").user)
    answer = send(client, method, AT + path.replace("1/", f"{row.pk}/"), keys["ben"], body)
    assert answer.status_code == status, answer.content
    assert field is None or field in answer.json()["error"]["fields"]
    assert Collection.objects.count() == 1


def test_mine_needs_a_key(client: Any, keys: Any) -> None:
    collection_services.create("Days", by=ApiKey.objects.get(user__username="ben").user)
    assert client.get(f"{AT}?mine=true").status_code == 400
    assert len(send(client, "get", f"{AT}?mine=true", keys["ben"]).json()["results"]) == 1
    assert send(client, "get", f"{AT}?mine=true", keys["ada"]).json()["results"] == []
