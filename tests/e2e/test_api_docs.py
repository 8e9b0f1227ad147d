"""The API's docs page in a real browser: all of it from this machine, and able to send
a request.
"""

import json

import pytest

pytestmark = pytest.mark.chromium


def test_the_docs_page_shows_the_schema_and_sends_a_request(page, instance):
    page.goto("/api/docs/")
    page.locator("#operations-models-get_model").click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_placeholder("model").fill("tiny")
    page.get_by_role("button", name="Execute").click()
    answered = page.locator(".live-responses-table .response").first
    answered.locator(".response-col_status", has_text="200").wait_for()
    body = answered.locator(".response-col_description pre code").inner_text()
    assert json.loads(body)["slug"] == "tiny"
    paths = page.request.get("/api/v1/schema/").json()["paths"]
    assert page.locator(".opblock").count() == sum(len(methods) for methods in paths.values())
