"""The browser's Back button after htmx has refreshed a part of the page."""

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.chromium


def test_back_shows_the_page_and_not_the_fragment_that_was_fetched_last(page: Page):
    with page.expect_response(lambda r: r.url.endswith("/jobs/workers/") and r.status == 200):
        page.goto("/jobs/workers/")
    with page.expect_response(lambda r: "hx-request" in r.request.headers) as fragment:
        pass  # the page asks every five seconds
    assert fragment.value.headers["vary"].lower().count("hx-request") == 1
    page.goto("/about/")
    page.go_back()
    expect(page.locator("header nav")).to_be_visible()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
