"""Every URL: an answer that has two forms varies by what htmx sends, and OPTIONS says what it
allows.
"""

import pytest
from django.urls import get_resolver

from explorer.http.fragments import VARY
from tests import builders

pytestmark = pytest.mark.django_db
VALUES = {
    "model": "tiny", "sae": "2-res", "other": "2-res", "index": "0", "pk": "1", "item": "1",
    "slug": "x", "kind": "train_sae", "username": "ben", "form": "json", "name": "cfg.json",
    "band": "0", "rank": "0",
}  # fmt: skip


def patterns(resolver, prefix=""):
    for pattern in resolver.url_patterns:
        path = prefix + str(pattern.pattern)
        if hasattr(pattern, "url_patterns"):
            yield from patterns(pattern, path)
        elif not path.startswith("admin/") and "^" not in path and "(?P" not in path:
            yield path


def urls():
    """A URL of every pattern."""
    for path in patterns(get_resolver()):
        for name, value in VALUES.items():
            for converter in ("str", "int", "slug", "name", "path"):
                path = path.replace(f"<{converter}:{name}>", value)
        assert "<" not in path, path
        yield f"/{path}"


def varies(response):
    return {name.strip() for name in response.get("Vary", "").split(",")}


def test_every_page_varies_by_what_htmx_sends(client):
    builders.planted()
    pages = 0
    for url in urls():
        if "events" in url or "stream" in url:
            continue
        for headers in ({}, {"HX-Request": "true", "HX-Target": "live"}):
            response = client.get(url, headers=headers)
            if response.get("Content-Type", "").startswith("text/html"):
                pages += 1
                assert set(VARY) <= varies(response), url
    assert pages > 150


def test_options_says_what_every_url_allows(client):
    for url in urls():
        response = client.options(url)
        if response.status_code == 404:
            assert url.startswith("/api/"), url
            continue
        assert response.status_code in (200, 204), url
        methods = response["Allow"].split(", ")
        assert "OPTIONS" in methods, url
        assert ("GET" in methods) == ("HEAD" in methods), url


def test_a_refused_method_and_options_agree(client):
    for url in ("/jobs/workers/", "/api/v1/models/", "/api/v1/jobs/", "/accounts/login/"):
        allowed = client.options(url)["Allow"]
        refused = client.delete(url)
        assert (refused.status_code, refused["Allow"]) == (405, allowed)


@pytest.mark.parametrize("header", ["HX-History-Restore-Request", "HX-Boosted"])
def test_a_restored_or_boosted_page_is_whole(client, header):
    part = client.get("/jobs/workers/", headers={"HX-Request": "true"}).content
    assert b"<html" not in part
    whole = client.get("/jobs/workers/", headers={"HX-Request": "true", header: "true"}).content
    assert b"<html" in whole
