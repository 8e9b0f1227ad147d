"""Endpoints: who sees and changes which, a key that nobody reads again, and addresses that are
refused.
"""

import pytest
from django.test import Client

from features import encryption
from features.jobs.forms import JOB_FORMS
from features.models import Endpoint
from tests import builders

pytestmark = pytest.mark.django_db
RIGHT = {
    "slug": "local",
    "base_url": "http://localhost:11434/v1/",
    "model": "llama3",
    "key": "sk-secret",
    "concurrency": 4,
    "per_minute": 0,
    "timeout": 60,
    "price_in": "0",
    "price_out": "0",
}


@pytest.fixture
def ada(client: Client) -> Client:
    builders.cast()
    client.login(username="ada", password="ada-password-1")
    return client


@pytest.fixture
def ben() -> Client:
    client = Client()
    client.login(username="ben", password="ben-password-1")
    return client


def test_a_key_is_kept_encrypted_and_never_shown(ada: Client) -> None:
    answer = ada.post("/labels/endpoints/", RIGHT, follow=True)
    assert answer.status_code == 200
    made = Endpoint.objects.get()
    assert (made.base_url, made.owner.username) == ("http://localhost:11434/v1", "ada")
    assert b"sk-secret" not in bytes(made.key)
    assert encryption.decrypt(made.key) == "sk-secret"
    for address in ("/labels/endpoints/", "/labels/endpoints/local/"):
        assert b"sk-secret" not in ada.get(address).content


def test_an_empty_key_leaves_the_stored_one_and_another_replaces_it(ada: Client) -> None:
    ada.post("/labels/endpoints/", RIGHT)
    ada.post("/labels/endpoints/local/", RIGHT | {"key": "", "model": "llama4"})
    made = Endpoint.objects.get()
    assert (made.model, encryption.decrypt(made.key)) == ("llama4", "sk-secret")
    ada.post("/labels/endpoints/local/", RIGHT | {"key": "other"})
    assert encryption.decrypt(Endpoint.objects.get().key) == "other"


def test_a_stored_key_goes_to_no_other_address(ada: Client) -> None:
    ada.post("/labels/endpoints/", RIGHT)
    elsewhere = RIGHT | {"key": "", "base_url": "http://elsewhere.example/v1"}
    assert list(ada.post("/labels/endpoints/local/", elsewhere).context["form"].errors) == ["key"]
    assert Endpoint.objects.get().base_url == "http://localhost:11434/v1"
    assert (
        ada.post(
            "/labels/endpoints/local/", RIGHT | {"key": "", "base_url": "http://localhost:11434/v2"}
        ).status_code
        == 302
    )


def test_a_key_of_another_secret_says_what_to_do(ada: Client, settings) -> None:
    ada.post("/labels/endpoints/", RIGHT)
    old = settings.SECRET_KEY
    settings.SECRET_KEY = "quite another one, and long enough to be one"
    with pytest.raises(encryption.Unreadable, match="Store the key again"):
        encryption.decrypt(Endpoint.objects.get().key)
    settings.SECRET_KEY_FALLBACKS = [old]
    assert encryption.decrypt(Endpoint.objects.get().key) == "sk-secret"


def test_everyone_has_their_own_and_staff_those_of_the_instance(ada: Client, ben: Client) -> None:
    ada.post("/labels/endpoints/", RIGHT | {"slug": "adas"})
    ada.post("/labels/endpoints/", RIGHT | {"slug": "shared", "shared": "on"})
    ben.post("/labels/endpoints/", RIGHT | {"slug": "bens", "shared": "on"})
    owners = dict(Endpoint.objects.values_list("slug", "owner__username"))
    assert owners == {"adas": "ada", "shared": None, "bens": "ben"}
    seen = ben.get("/labels/endpoints/").content.decode()
    assert "shared" in seen
    assert "bens" in seen
    assert "adas" not in seen
    assert ben.get("/labels/endpoints/adas/").status_code == 404
    assert ben.post("/labels/endpoints/adas/delete/").status_code == 404
    assert ben.post("/labels/endpoints/shared/delete/").status_code == 403
    assert ben.post("/labels/endpoints/bens/delete/", follow=True).status_code == 200
    assert ada.post("/labels/endpoints/shared/delete/", follow=True).status_code == 200
    assert list(Endpoint.objects.values_list("slug", flat=True)) == ["adas"]


def test_visitors_are_sent_to_sign_in(client: Client) -> None:
    assert client.get("/labels/endpoints/").status_code == 302
    assert client.post("/labels/endpoints/", RIGHT).status_code == 302
    assert not Endpoint.objects.exists()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"base_url": "ftp://example.com"}, "base_url"),
        ({"base_url": "http://user:password@example.com/v1"}, "base_url"),
        ({"base_url": "http://[::1"}, "base_url"),
        ({"base_url": "http://example.com:99999/"}, "base_url"),
        ({"base_url": "javascript:alert(1)"}, "base_url"),
        ({"slug": "with spaces"}, "slug"),
        ({"slug": ""}, "slug"),
        ({"model": ""}, "model"),
        ({"concurrency": 0}, "concurrency"),
        ({"concurrency": 1000}, "concurrency"),
        ({"price_in": "-1"}, "price_in"),
        ({"timeout": "soon"}, "timeout"),
        ({"key": "x" * 501}, "key"),
    ],
)
def test_what_cannot_be_is_refused_beside_its_field(
    ada: Client, change: dict[str, object], field: str
) -> None:
    answer = ada.post("/labels/endpoints/", RIGHT | change)
    assert answer.status_code == 422
    assert list(answer.context["form"].errors) == [field]
    assert not Endpoint.objects.exists()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "10.1.2.3", "[::1]", "169.254.169.254"])
def test_private_addresses_are_refused_where_the_instance_forbids_them(
    ada: Client, settings, host: str
) -> None:
    settings.PRIVATE_ENDPOINTS = False
    answer = ada.post("/labels/endpoints/", RIGHT | {"base_url": f"http://{host}/v1"})
    assert answer.status_code == 422
    assert "private address" in str(answer.context["form"].errors)


def test_a_taken_name_is_refused(ada: Client) -> None:
    ada.post("/labels/endpoints/", RIGHT)
    assert list(ada.post("/labels/endpoints/", RIGHT).context["form"].errors) == ["slug"]


def test_a_job_for_an_endpoint_that_is_not_there_tells_the_names_of_shared_ones_alone(
    ada: Client,
) -> None:
    ada.post("/labels/endpoints/", RIGHT | {"slug": "adas"})
    ada.post("/labels/endpoints/", RIGHT | {"slug": "together", "shared": "on"})
    (refused,) = JOB_FORMS["explain_sae"]({"endpoint": "nobody"}).errors["endpoint"]
    assert "together" in refused
    assert "adas" not in refused
