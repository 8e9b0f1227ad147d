"""What goes out compressed, and what browsers may store."""

import gzip
import hashlib
import re

import pytest

from explorer.http.compression import CompressionMiddleware
from explorer.http.sse import event_stream
from tests import builders

pytestmark = pytest.mark.django_db


@pytest.fixture
def planted():
    return builders.planted()


def test_pages_and_api_responses_are_compressed_for_clients_that_accept_it(client, planted):
    for url in ("/tiny/2-res/0/", "/api/v1/features/tiny/2-res/0/"):
        plain, packed = client.get(url), client.get(url, headers={"accept-encoding": "gzip"})
        assert "Content-Encoding" not in plain.headers
        assert packed.headers["Content-Encoding"] == "gzip"
        assert "Accept-Encoding" in plain.headers["Vary"]
        assert "Accept-Encoding" in packed.headers["Vary"]
        assert len(packed.content) < len(plain.content) / 2
        assert len(gzip.decompress(packed.content)) == len(plain.content)


def test_a_static_url_has_its_hash_and_is_stored_for_a_year(client, planted):
    page = client.get("/tiny/2-res/0/").content.decode()
    urls = re.findall(r'(?:src|href)="(/static/[^"]+)"', page)
    assert len(urls) > 5
    for url in urls:
        response = client.get(url)
        content = re.fullmatch(r"[^?]+[?]v=([0-9a-f]{12})", url)
        assert content, url
        assert hashlib.sha256(response.content).hexdigest().startswith(content[1])
        assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        other = client.get(url.partition("?")[0] + "?v=000000000000")
        assert "immutable" not in other.headers["Cache-Control"]


def test_an_event_stream_is_not_compressed(rf):
    async def events():
        yield "data: 1\n\n" * 200

    request = rf.get("/", headers={"accept-encoding": "gzip"})
    response = CompressionMiddleware(lambda _: event_stream(events()))(request)
    assert "Content-Encoding" not in response.headers
