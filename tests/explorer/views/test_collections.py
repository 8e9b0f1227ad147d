"""Collections on pages and in the API: who sees them, what goes in, order, notes, downloads, and
what is refused.
"""

import csv
import io
import json
import re
from typing import Any

import pytest

from features.models import Collection, Feature
from features.models.collection import MAX_ITEMS
from features.services import collections as collection_services
from features.services import labels as label_services
from tests import builders
from tests.page import Page

pytestmark = pytest.mark.django_db


@pytest.fixture
def planted() -> builders.Planted:
    return builders.planted()


@pytest.fixture
def people(planted: Any) -> tuple[Any, Any]:
    ada, ben, _ = builders.cast()
    return ada, ben


def made(owner: Any, planted: Any, *indices: int, public: bool = True) -> Collection:
    collection = collection_services.create("Brackets", by=owner, public=public)
    collection_services.add(collection, [planted.feature(index).pk for index in indices])
    return collection


def order(collection: Collection) -> list[int]:
    return [item.feature.index for item in collection.items.all()]


def test_who_has_no_account_sees_public_ones_and_is_asked_to_sign_in_to_keep(
    client: Any, planted: Any, people: Any
) -> None:
    mine, hidden = made(people[0], planted, 0), made(people[0], planted, 1, public=False)
    assert Page(client.get("/collections/")).has(f'main a[href="/collections/{mine.pk}/"]')
    assert f"/collections/{hidden.pk}/" not in Page(client.get("/collections/"))
    assert Page(client.get(mine.get_absolute_url())).has('main a[href="/tiny/2-res/0/"]')
    for address in (
        hidden.get_absolute_url(),
        f"/collections/{hidden.pk}/collection.json",
        "/collections/999/",
    ):
        assert client.get(address).status_code == 404
    asked = client.get("/collections/add/?feature=tiny/2-res/0")
    assert asked["Location"] == "/accounts/login/?next=/collections/add/%3Ffeature%3Dtiny/2-res/0"
    for address in ("new/", f"{mine.pk}/edit/", f"{mine.pk}/delete/", f"{mine.pk}/items/1/"):
        assert client.post(f"/collections/{address}", {"name": "x"}).status_code == 302
    assert Collection.objects.count() == 2
    assert mine.items.count() == 1


def test_only_its_owner_sees_a_private_one_and_changes_any(
    client: Any, planted: Any, people: Any
) -> None:
    ada, ben = people
    public, private = made(ada, planted, 0), made(ada, planted, 0, public=False)
    client.force_login(ben)
    assert client.get(private.get_absolute_url()).status_code == 404
    assert client.post(f"/collections/{private.pk}/edit/", {"name": "x"}).status_code == 404
    item = public.items.get()
    assert client.post(f"/collections/{public.pk}/edit/", {"name": "x"}).status_code == 403
    assert client.post(f"/collections/{public.pk}/delete/").status_code == 403
    assert (
        client.post(f"/collections/{public.pk}/items/{item.pk}/", {"remove": "1"}).status_code
        == 403
    )
    assert "Take out" not in Page(client.get(public.get_absolute_url()))
    other = made(ben, planted, 1)
    assert (
        client.post(f"/collections/{other.pk}/items/{item.pk}/", {"remove": "1"}).status_code == 302
    )
    assert public.items.count() == 1, "an item of another collection is none of this one's"
    client.force_login(ada)
    assert client.get(private.get_absolute_url()).status_code == 200


def test_features_are_put_into_a_new_one_and_into_one_that_is_there(
    client: Any, planted: Any, people: Any
) -> None:
    client.force_login(people[1])
    page = Page(client.get("/collections/add/?feature=tiny/2-res/0&feature=tiny/2-res/4"))
    assert page.count('type="hidden" name="feature"') == 2
    answer = client.post(
        "/collections/add/", {"feature": ["tiny/2-res/0", "tiny/2-res/4"], "name": " Two\nof them "}
    )
    (collection,) = Collection.objects.all()
    assert answer["Location"] == collection.get_absolute_url()
    assert (collection.name, collection.owner, collection.public) == (
        "Two of them",
        people[1],
        False,
    )
    assert order(collection) == [0, 4]
    client.post(
        "/collections/add/",
        {"feature": ["tiny/2-res/4,1,2"], "collection": collection.pk, "note": "<i>hm</i>"},
    )
    assert order(collection) == [0, 4, 1, 2]
    page = Page(client.get(collection.get_absolute_url()))
    assert page.has("#main li", "2 added, 1 already in it.")
    assert "&lt;i&gt;hm&lt;/i&gt;" in page
    assert "<i>hm" not in page


def test_the_lasso_sends_many_and_is_asked_where_to(client: Any, planted: Any, people: Any) -> None:
    client.force_login(people[1])
    answer = client.post("/collections/add/", {"feature": "tiny/2-res/0,1,2,4,5,6,7"})
    page = Page(answer)
    assert answer.status_code == 200
    assert page.has("#main button", "Add 7 features")
    assert not Collection.objects.exists()


@pytest.mark.parametrize(
    ("feature", "told"),
    [
        ([], "Choose one feature"),
        (["tiny/2-res/99"], "There is no feature tiny/2-res/99."),
        (["nope/2-res/0"], "There is no feature nope/2-res/0."),
        (["tiny/2-res/-1"], "names no feature"),
        (["tiny/2-res/²"], "names no feature"),
        (["tiny/2-res/1,"], "names no feature"),
        (["tiny/\0/1"], "names no feature"),
        (["<script>"], "names no feature"),
        (["x" * 100_000], "names no feature"),
        (["tiny/2-res/" + ",".join(map(str, range(MAX_ITEMS + 1)))], "at most 1,000"),
        (["tiny/2-res/" + ",".join(map(str, range(20, 40)))], "and 15 others"),
    ],
)
def test_what_is_no_feature_is_told_and_nothing_is_made(
    client: Any, planted: Any, people: Any, feature: list[str], told: str
) -> None:
    client.force_login(people[1])
    answer = client.post("/collections/add/", {"feature": feature, "name": "Mine"})
    assert answer.status_code == 422
    assert Page(answer).has("#main [role=alert]", told)
    assert "<script>" not in Page(answer).replace('<script type="module"', "").replace(
        "<script src", ""
    )
    assert not Collection.objects.exists()


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({}, "Choose one of your collections, or name a new one."),
        ({"name": "a", "collection": "own"}, "Choose one of your collections, or name a new one."),
        ({"collection": "others"}, "Select a valid choice"),
        ({"collection": "x"}, "Select a valid choice"),
        ({"name": "x" * 101}, "at most 100"),
        ({"name": "\u200b"}, "Write at least one word."),
        ({"name": "a\0"}, "Null characters"),
        ({"name": "a", "note": "x" * 501}, "at most 500"),
    ],
)
def test_a_wrong_choice_is_told_beside_its_field(
    client: Any, planted: Any, people: Any, data: dict[str, str], told: str
) -> None:
    ada, ben = people
    places = {"own": made(ben, planted).pk, "others": made(ada, planted).pk}
    data = {"name": "", "collection": "", **data}
    data["collection"] = str(places.get(data["collection"], data["collection"]))
    client.force_login(ben)
    answer = client.post("/collections/add/", {"feature": "tiny/2-res/0", **data})
    assert answer.status_code == 422
    assert Page(answer).has("main", told)
    assert Collection.objects.count() == 2


def test_order_notes_and_taking_out(client: Any, planted: Any, people: Any) -> None:
    collection = made(people[1], planted, 0, 1, 2, 4)
    client.force_login(people[1])
    items = {item.feature.index: item.pk for item in collection.items.all()}

    def post(index: int, **data: Any) -> None:
        assert (
            client.post(f"/collections/{collection.pk}/items/{items[index]}/", data).status_code
            == 302
        )

    post(4, place=1)
    assert order(collection) == [4, 0, 1, 2]
    post(4, place=3)
    assert order(collection) == [0, 1, 4, 2]
    post(0, place="999999")
    assert order(collection) == [1, 4, 2, 0]
    post(0, place="x")
    assert order(collection) == [0, 1, 4, 2]
    post(1, note="  a\tnote ")
    assert collection.items.get(feature__index=1).note == "a note"
    post(1, note="")
    assert collection.items.get(feature__index=1).note == ""
    post(1, note="x" * 501)
    assert Page(client.get(collection.get_absolute_url())).has("#main li", "At most 500 characters")
    post(4, remove="1")
    post(4, remove="1")
    assert order(collection) == [0, 1, 2]


def test_a_feature_that_is_deleted_leaves_its_collections(
    client: Any, planted: Any, people: Any
) -> None:
    collection = made(people[1], planted, 0, 1)
    Feature.objects.filter(index=0).delete()
    assert order(collection) == [1]
    assert client.get(collection.get_absolute_url()).status_code == 200


def test_words_and_audience_are_changed_and_checked(client: Any, planted: Any, people: Any) -> None:
    collection = made(people[1], planted, 0)
    client.force_login(people[1])
    edit = f"/collections/{collection.pk}/edit/"
    assert client.post(edit, {"name": "New", "about": "What <b>it</b> is"}).status_code == 302
    collection.refresh_from_db()
    assert (collection.name, collection.about, collection.public) == (
        "New",
        "What <b>it</b> is",
        False,
    )
    for wrong in (
        {"name": ""},
        {"name": "x" * 101},
        {"name": "a", "about": "x" * 2001},
        {"name": "\u200b"},
    ):
        assert client.post(edit, wrong).status_code == 422
    assert client.post(f"/collections/{collection.pk}/delete/").status_code == 302
    assert not Collection.objects.exists()


def test_downloads_hold_everything(client: Any, planted: Any, people: Any) -> None:
    label_services.propose(planted.feature(0), "day, “the” word", by=people[1], weight=1)
    collection = made(people[1], planted, 4, 0)
    found = json.loads(client.get(f"/collections/{collection.pk}/collection.json").content)
    assert (found["name"], found["owner"]) == ("Brackets", "ben")
    assert [(row["index"], row["label"]) for row in found["features"]] == [
        (4, ""),
        (0, "day, “the” word"),
    ]
    rows = list(
        csv.DictReader(
            io.StringIO(Page(client.get(f"/collections/{collection.pk}/collection.csv")))
        )
    )
    assert [(row["model"], row["sae"], row["index"], row["label"]) for row in rows][1] == (
        "tiny", "2-res", "0", "day, “the” word",
    )  # fmt: skip
    assert client.get(f"/collections/{collection.pk}/collection.exe").status_code == 404


def test_lists_go_on_from_a_cursor_and_refuse_one_of_another_list(
    client: Any, planted: Any, people: Any
) -> None:
    for number in range(60):
        collection_services.create(f"No. {number}", by=people[1], public=True)
    page = Page(client.get("/collections/"))
    assert len(re.findall(r'href="/collections/\d+/"', page)) == 50
    cursor = re.search(r'\?cursor=([^"]+)"', page)
    assert cursor
    assert (
        len(
            re.findall(
                r'href="/collections/\d+/"',
                Page(client.get(f"/collections/?cursor={cursor[1]}")),
            )
        )
        == 10
    )
    client.force_login(people[1])
    for wrong in (
        f"/collections/?mine=1&cursor={cursor[1]}",
        "/collections/?cursor=abc",
        "/collections/?cursor=%00",
    ):
        answer = client.get(wrong)
        assert answer.status_code == 200
        assert Page(answer).has("#main [role=alert]", "start again without it")


def test_more_features_cost_no_more_queries(
    client: Any, planted: Any, people: Any, django_assert_num_queries: Any
) -> None:
    one, many = made(people[1], planted, 0), made(people[1], planted, 0, 1, 2, 4, 5, 6)
    for collection in (one, many):
        with django_assert_num_queries(4):
            client.get(collection.get_absolute_url())


def test_a_feature_and_a_search_lead_to_it(client: Any, planted: Any, people: Any) -> None:
    page = Page(client.get("/tiny/2-res/0/"))
    assert re.search(r'href="/collections/add/\?feature=tiny/2-res/0" data-key="c"', page)
    label_services.propose(planted.feature(0), "day", by=people[1], weight=1)
    page = Page(client.get("/search/?q=day"))
    assert page.has('input[form="collect"][name="feature"][value="tiny/2-res/0"]')


def test_features_ticked_in_the_list_of_an_sae_go_into_a_collection(
    client: Any, planted: Any, people: Any
) -> None:
    client.force_login(people[1])
    page = Page(client.get("/tiny/2-res/"))
    assert page.has('form[id="collect"][method="get"][action="/collections/add/"]')
    names = re.findall(
        r'<input type="checkbox" form="collect" name="feature" value="([^"]+)"', page
    )
    assert names[:2] == ["tiny/2-res/0", "tiny/2-res/1"]
    client.post("/collections/add/", {"feature": names[:2], "name": "Ticked"})
    assert order(Collection.objects.get(name="Ticked")) == [0, 1]
