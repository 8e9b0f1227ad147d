"""Accounts: signing up and in, staying on this site, passwords, and keys that are shown once."""

import pytest

from explorer.models import ApiKey, User
from tests import builders
from tests.page import Page

pytestmark = pytest.mark.django_db
STRONG = "a-quiet-otter-42"


@pytest.fixture
def ben(client):
    _, ben, _ = builders.cast()
    client.force_login(ben)
    return ben


def sign_in(client, password, next="", name="ben"):
    return client.post("/accounts/login/", {"username": name, "password": password, "next": next})


def test_who_signs_up_is_signed_in_and_is_no_staff(client):
    response = client.post(
        "/accounts/signup/", {"username": "dora", "password1": STRONG, "password2": STRONG}
    )
    assert response.status_code == 302
    dora = User.objects.get()
    assert (dora.username, dora.is_staff, dora.is_superuser) == ("dora", False, False)
    assert client.get("/accounts/").status_code == 200


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"username": ""}, "username"),
        ({"username": "two words"}, "username"),
        ({"username": "BEN"}, "username"),
        ({"password2": "another-otter-43"}, "password2"),
        ({"password1": "short1x", "password2": "short1x"}, "password2"),
        ({"password1": "password", "password2": "password"}, "password2"),
        (
            {"username": "quietotter", "password1": "quietotter1", "password2": "quietotter1"},
            "password2",
        ),
    ],
)
def test_a_wrong_sign_up_is_refused_beside_its_field_and_makes_nobody(client, data, field):
    User.objects.create_user("ben")
    right = {"username": "dora", "password1": STRONG, "password2": STRONG}
    response = client.post("/accounts/signup/", right | data)
    assert response.status_code == 422
    assert field in response.context["form"].errors
    assert User.objects.count() == 1


@pytest.mark.parametrize(
    "name",
    [
        "аdа",
        "admіn",
        "асе",
        "αdα",
        "ɑda",
        "ıda",
        "ﬁona",
        "ａｄａ",
        "ada\u200b",
        "ada\u202e",
        "ad\u0430",
        "٣ada",
        "𝐚da",
    ],
)
def test_a_name_that_looks_like_another_is_refused(client, name):
    response = client.post(
        "/accounts/signup/", {"username": name, "password1": STRONG, "password2": STRONG}
    )
    assert response.status_code == 422
    assert "username" in response.context["form"].errors
    assert not User.objects.exists()


@pytest.mark.parametrize(
    "name",
    ["zoë", "søren", "борис", "дарья", "αλέξης", "김철수", "さくらカナ花", "ada_1", "a.b+c@d-e"],
)
def test_names_of_many_alphabets_are_welcome(client, name):
    response = client.post(
        "/accounts/signup/", {"username": name, "password1": STRONG, "password2": STRONG}
    )
    assert response.status_code == 302
    assert User.objects.get().username == name


def test_sign_up_can_be_closed(client, settings):
    settings.SIGNUP = False
    assert Page(client.get("/accounts/signup/")).has("#main p", "does not accept new accounts")
    assert "/accounts/signup/" not in Page(client.get("/accounts/login/"))
    client.post("/accounts/signup/", {"username": "dora", "password1": STRONG, "password2": STRONG})
    assert not User.objects.exists()


def test_signing_in_goes_on_to_where_one_came_from_but_never_to_another_site(client):
    builders.cast()
    assert (
        sign_in(client, "ben-password-1", "/jobs/?state=running").headers["Location"]
        == "/jobs/?state=running"
    )
    client.logout()
    for elsewhere in (
        "https://evil.example/",
        "//evil.example/",
        "javascript:alert(1)",
        "/\\evil.example",
    ):
        assert sign_in(client, "ben-password-1", elsewhere).headers["Location"] == "/"
        client.logout()
        signup = {
            "username": f"d{abs(hash(elsewhere))}",
            "password1": STRONG,
            "password2": STRONG,
            "next": elsewhere,
        }
        assert client.post("/accounts/signup/", signup).headers["Location"] == "/"
        client.logout()


def test_too_many_wrong_passwords_ask_for_patience_even_with_the_right_one(client):
    builders.cast()
    for _ in range(8):
        assert Page(sign_in(client, "wrong")).has("#main li", "correct username and password")
    assert Page(sign_in(client, "ben-password-1")).has("#main li", "Too many attempts")
    assert sign_in(client, "ada-password-1", name="ada").status_code == 302, (
        "others may still sign in"
    )


def test_signing_in_well_forgets_earlier_mistakes(client):
    builders.cast()
    for _ in range(3):
        for _ in range(7):
            sign_in(client, "wrong")
        assert sign_in(client, "ben-password-1").status_code == 302
        client.logout()


def test_signing_out_takes_a_post(client, ben):
    assert client.get("/accounts/logout/").status_code == 405
    client.post("/accounts/logout/")
    assert client.get("/accounts/").headers["Location"] == "/accounts/login/?next=/accounts/"


def test_a_password_is_changed_only_by_who_knows_the_old_one(client, ben):
    new = {"new_password1": STRONG, "new_password2": STRONG}
    wrong = client.post("/accounts/password/", {"old_password": "wrong"} | new)
    assert "old_password" in wrong.context["form"].errors
    client.post("/accounts/password/", {"old_password": "ben-password-1"} | new)
    ben.refresh_from_db()
    assert ben.check_password(STRONG)
    assert client.get("/accounts/").status_code == 200, "this session stays signed in"


def test_a_key_is_shown_once_works_and_is_listed_by_its_beginning(client, ben):
    response = client.post("/accounts/keys/", {"name": "notebook"})
    key = response.context["new_key"]
    assert Page(response).has("main", key)
    assert "no-store" in response.headers["Cache-Control"]
    assert ApiKey.by_key(key).user == ben
    html = Page(client.get("/accounts/"))
    assert key not in html
    assert key[:11] in html
    assert html.has("#main td", "notebook")


def test_a_key_needs_a_name_that_says_what_it_is_for(client, ben):
    response = client.post("/accounts/keys/", {"name": " "})
    assert response.status_code == 422
    assert "errorlist" in Page(response)
    assert not ApiKey.objects.exists()


def test_a_revoked_key_ends_and_somebody_elses_cannot_be_touched(client, ben):
    row, key = ApiKey.create(ben, "old")
    other, others_key = ApiKey.create(User.objects.get(username="ada"), "hers")
    client.post(f"/accounts/keys/{row.pk}/revoke/")
    assert client.post(f"/accounts/keys/{other.pk}/revoke/").status_code == 404
    assert ApiKey.by_key(key) is None
    assert ApiKey.by_key(others_key) == other


def test_keys_are_for_members(client):
    assert client.post("/accounts/keys/", {"name": "x"}).status_code == 302
    assert client.get("/accounts/").headers["Location"].startswith("/accounts/login/")
    assert not ApiKey.objects.exists()


def test_no_admin_page_shows_more_of_a_key_than_its_beginning(client, ben):
    row, key = ApiKey.create(ben, "old")
    client.force_login(User.objects.create_superuser("root", password="root-password-1"))
    for url in ("/admin/explorer/apikey/", f"/admin/explorer/apikey/{row.pk}/change/"):
        html = Page(client.get(url))
        assert row.prefix in html
        assert key not in html
        assert row.sha256 not in html
    assert client.get("/admin/explorer/apikey/add/").status_code == 403
    client.post("/admin/explorer/apikey/", {"action": "revoke", "_selected_action": [row.pk]})
    assert ApiKey.by_key(key) is None
