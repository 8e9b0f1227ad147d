"""The weights of an SAE can be taken along by who has an account."""

import asyncio
import hashlib
import re

import pytest

from features import artifact_store
from features.models import Sae
from tests import builders
from tests.page import Page

pytestmark = pytest.mark.django_db
WEIGHTS = bytes(range(256)) * 10_000


@pytest.fixture
def sae(settings, tmp_path):
    settings.ARTIFACTS_URL = str(tmp_path / "store")
    sae = builders.planted().sae
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "sae_weights.safetensors").write_bytes(WEIGHTS)
    (folder / "cfg.json").write_text("{}")
    Sae.objects.filter(pk=sae.pk).update(artifact=artifact_store.put(folder, "saes/tiny/2-res-abc"))
    return sae


@pytest.fixture
def ben(client):
    _, ben, _ = builders.cast()
    client.force_login(ben)
    return ben


def test_a_visitor_is_sent_to_sign_in(client, sae):
    for path in ("", "cfg.json"):
        response = client.get(f"/tiny/2-res/files/{path}")
        assert response.status_code == 302
        assert response["Location"].startswith("/accounts/login/")


def test_a_member_sees_the_files_and_their_sizes(client, sae, ben):
    html = Page(client.get("/tiny/2-res/files/"))
    assert html.has('main a[href="/tiny/2-res/files/sae_weights.safetensors"]')
    assert html.has("#main td", "2.4\xa0MB")
    assert sae.sha256 in html


def test_the_hash_can_be_checked_with_the_command_that_is_shown(client, sae, ben, tmp_path):
    made = hashlib.sha256(b"{}" + WEIGHTS).hexdigest()
    Sae.objects.filter(pk=sae.pk).update(sha256=made)
    html = Page(client.get("/tiny/2-res/files/"))
    names = re.search("<code>cat (.*) [|] sha256sum</code> gives", html)[1].split()
    together = b"".join((tmp_path / "made" / name).read_bytes() for name in names)
    assert hashlib.sha256(together).hexdigest() == made
    assert html.has("#main p", made)


def test_a_file_comes_whole_and_in_pieces(client, sae, ben):
    response = client.get("/tiny/2-res/files/sae_weights.safetensors")
    assert response["Content-Length"] == str(len(WEIGHTS))
    assert response["Content-Disposition"] == 'attachment; filename="sae_weights.safetensors"'

    async def pieces():
        return [piece async for piece in response.streaming_content]

    got = asyncio.run(pieces())
    assert b"".join(got) == WEIGHTS
    assert len(got) > 1


@pytest.mark.parametrize(
    "name", ["no.txt", "../../../etc/passwd", "..%2f..%2fsecret", "cfg.json/x", "%00"]
)
def test_what_is_no_file_of_it_is_a_404(client, sae, ben, name):
    assert client.get(f"/tiny/2-res/files/{name}").status_code == 404


def test_weights_that_are_gone_are_a_404_that_says_so(client, sae, ben):
    artifact_store.remove("saes/tiny/2-res-abc")
    response = client.get("/tiny/2-res/files/")
    assert response.status_code == 404
    assert Page(response).has("h1", "was it moved or deleted")
