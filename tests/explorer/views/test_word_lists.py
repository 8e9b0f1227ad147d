"""Lists of words that people keep: written or sent as a file, shown, chosen for a job, deleted."""

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from explorer.models import ApiKey, User
from features.jobs.forms import LabelSae
from features.models import WordList
from features.records import InvalidParams
from tests import builders
from tests.explorer.api.test_schema import check as check_answer
from tests.page import Page

pytestmark = pytest.mark.django_db
PAGE = "/labels/lists/"


@pytest.fixture
def ben(client):
    builders.cast()
    client.force_login(User.objects.get(username="ben"))
    return client


def test_a_list_is_kept_shown_and_deleted(ben):
    kept = ben.post(
        PAGE,
        {"slug": "animals", "words": "cat\n# a comment\n\nguinea pig\ncat\n<b>dog</b>"},
        follow=True,
    )
    assert kept.redirect_chain == [("/labels/lists/animals/", 302)]
    page = Page(kept)
    assert page.has("#main p", "<b>dog")
    assert page.has("#main p", "guinea pig")
    row = WordList.objects.get()
    assert (row.entries, row.owner.username) == (["cat", "guinea pig", "<b>dog</b>"], "ben")
    listed = Page(ben.get(PAGE))
    assert '<a href="/labels/lists/animals/">animals</a>' in listed
    ben.post("/labels/lists/animals/delete/")
    assert not WordList.objects.exists()
    assert ben.get("/labels/lists/animals/").status_code == 404


def test_a_list_comes_from_a_file_too(ben):
    file = SimpleUploadedFile("units.txt", "\ufeffmetre\r\nsecond\r\n".encode())
    assert ben.post(PAGE, {"slug": "units", "file": file}).status_code == 302
    assert WordList.objects.get().entries == ["metre", "second"]


@pytest.mark.parametrize(
    ("field", "sent"),
    [
        ("slug", {"slug": "Not a slug", "words": "cat"}),
        ("slug", {"slug": "there", "words": "cat"}),
        ("slug", {"words": "cat"}),
        ("words", {"slug": "a", "words": " \n# nothing\n"}),
        ("words", {"slug": "a", "words": "cat\n[other]\ndog"}),
        ("words", {"slug": "a", "words": "x" * 201}),
        ("words", {"slug": "a", "words": "a\u200bb\x07"}),
        ("words", {"slug": "a", "words": "\n".join(map(str, range(20_001)))}),
        ("file", {"slug": "a", "file": SimpleUploadedFile("a.txt", b"\xff\xfe\x00")}),
        ("file", {"slug": "a", "file": SimpleUploadedFile("a.txt", b"x\n" * 2**20)}),
        ("file", {"slug": "a", "words": "cat", "file": SimpleUploadedFile("a.txt", b"dog")}),
    ],
)
def test_what_cannot_be_a_list_is_kept_in_the_form_with_the_reason(ben, field, sent):
    WordList.objects.create(slug="there", entries=["x"])
    refused = ben.post(PAGE, sent)
    assert refused.status_code == 422
    assert list(refused.context["form"].errors) == [field]
    assert WordList.objects.count() == 1


def test_visitors_look_and_only_who_keeps_a_list_or_a_curator_deletes_it(ben, client):
    ben.post(PAGE, {"slug": "animals", "words": "cat"})
    client.logout()
    assert client.get(PAGE).status_code == client.get("/labels/lists/animals/").status_code == 200
    assert client.post(PAGE, {"slug": "b", "words": "x"}).status_code == 302
    assert WordList.objects.count() == 1
    cleo = User.objects.create_user("cleo")
    client.force_login(cleo)
    assert client.post("/labels/lists/animals/delete/").status_code == 403
    User.objects.filter(pk=cleo.pk).update(suspended=timezone.now())
    assert client.post(PAGE, {"slug": "b", "words": "x"}).status_code in (403, 422)
    client.force_login(User.objects.get(username="ada"))
    assert client.post("/labels/lists/animals/delete/").status_code == 302
    assert not WordList.objects.exists()


def test_lists_cost_the_same_for_10_and_20(ben, django_assert_max_num_queries):
    costs = []
    for start in (0, 10):
        for i in range(start, start + 10):
            WordList.objects.create(
                slug=f"list-{i}", entries=["x"] * 3, owner=User.objects.get(username="ben")
            )
        with django_assert_max_num_queries(9) as queries:
            ben.get(PAGE)
        costs.append(len(queries))
    assert costs[0] == costs[1]


def test_a_job_names_lists_that_are_kept(ben):
    builders.planted()
    for slug in ("animals", "units"):
        WordList.objects.create(slug=slug, entries=["x"])
    job = {"sae": "tiny/2-res", "corpus": "tiny-stories"}
    assert LabelSae.checked(job).params()["kept_lists"] == []
    assert LabelSae.checked({**job, "kept_lists": "animals"}).params()["kept_lists"] == ["animals"]
    assert LabelSae.checked({**job, "kept_lists": "units, animals"}).params()["kept_lists"] == [
        "units",
        "animals",
    ]
    with pytest.raises(InvalidParams) as refused:
        LabelSae.checked({**job, "kept_lists": "animals,birds"}).params()
    assert "Known: animals, units" in refused.value.errors["kept_lists"][0]


def test_the_api_keeps_tells_and_deletes_lists_by_the_same_rules(ben, client):
    schema = client.get("/api/v1/schema/").json()
    keys = {name: ApiKey.create(User.objects.get(username=name), "x")[1] for name in ("ada", "ben")}
    keys["cleo"] = ApiKey.create(User.objects.create_user("cleo"), "x")[1]
    client.logout()

    def call(method, address, data=None, who="ben"):
        headers = {"Authorization": f"Bearer {keys[who]}"} if who else None
        return getattr(client, method)(
            f"/api/v1/word-lists/{address}", data, "application/json", headers=headers
        )

    made = call("post", "", {"slug": "animals", "words": "cat\nguinea pig"})
    check_answer(schema, schema["paths"]["/api/v1/word-lists/"]["post"], 201, made.json())
    assert (made.json()["entries"], made.json()["size"], made.json()["owner"]) == (
        ["cat", "guinea pig"],
        2,
        "ben",
    )
    assert client.get(made["Location"]).json() == made.json()
    assert "entries" not in client.get("/api/v1/word-lists/").json()["results"][0]
    assert call("post", "", {"slug": "animals", "words": "x"}).json()["error"]["fields"].keys() == {
        "slug"
    }
    assert call("post", "", {"slug": "b", "words": "[x]"}).json()["error"]["fields"].keys() == {
        "words"
    }
    assert call("post", "", {"slug": "b", "words": "x"}, who="").status_code == 401
    assert call("delete", "animals/", who="cleo").status_code == 403
    assert call("delete", "animals/").status_code == 204
    assert call("delete", "animals/").status_code == 404
    assert client.get("/api/v1/word-lists/a%00b/").status_code == 404
