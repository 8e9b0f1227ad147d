"""What a person does in the browser, on a real instance with real workers."""

import re

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.chromium
ONE_OF_A_KIND = "window.notReloaded = true"


def open_start_page(page: Page) -> None:
    page.goto("/jobs/")
    page.get_by_role("link", name=re.compile("start", re.I)).first.click()
    page.get_by_role("link", name="Train an SAE").click()


def test_a_job_started_from_the_page_is_watched_live_and_cancelled(admin: Page):
    open_start_page(admin)
    admin.get_by_label("Slug").fill("from-the-page")
    admin.get_by_label("Width").fill("128")
    admin.get_by_label("Context size").fill("64")
    admin.get_by_label("Tokens", exact=True).fill("20000000")
    expect(admin.locator("#estimate")).to_contain_text("20,000,000")
    admin.get_by_role("button", name="Start").click()

    admin.wait_for_url(re.compile(r"/jobs/\d+/$"))
    admin.evaluate(ONE_OF_A_KIND)
    expect(admin.get_by_role("progressbar")).to_be_visible()
    expect(admin.get_by_role("img").first).to_be_visible()  # a curve
    first = admin.get_by_role("progressbar").get_attribute("aria-valuenow")
    expect(admin.get_by_role("progressbar")).not_to_have_attribute(
        "aria-valuenow", first or "", timeout=60_000
    )
    expect(admin.locator("#log")).to_contain_text("Training: topk")

    admin.get_by_role("button", name="Cancel").click()
    expect(admin.locator(".status").first).to_contain_text("cancelled", timeout=15_000)


def test_progress_arrives_without_a_reload(admin: Page, instance):
    said = instance.manage(
        "train_sae", "tiny/watched", "--corpus", "tales", "--hook", "blocks.0.hook_resid_post",
        "--width", "64", "--k", "4", "--context-size", "64", "--tokens", "150000", "--no-then",
    )  # fmt: skip
    pk = re.search(r"Job (\d+)", said)[1]
    admin.goto(f"/jobs/{pk}/")
    admin.evaluate(ONE_OF_A_KIND)
    expect(admin.locator(".status").first).to_contain_text("finished", timeout=120_000)
    expect(admin.get_by_role("link", name="tiny/watched").first).to_be_visible()
    assert admin.evaluate("window.notReloaded") is True


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("Width", "0", "greater than or equal to 1"),
        ("Tokens", "12", "greater than or equal to"),
        ("Slug", "No Spaces", "small letters"),
        ("Context size", "8000", "at most 64 tokens"),
    ],
)
def test_a_wrong_setting_is_refused_beside_its_field_and_nothing_is_queued(
    admin: Page, instance, field, value, said
):
    before = instance.rows("SELECT count(*) FROM features_job")
    open_start_page(admin)
    admin.get_by_label("Slug").fill("fine")
    admin.get_by_label(field, exact=True).fill(value)
    admin.get_by_role("button", name="Start").click()
    expect(admin.get_by_role("alert").first).to_be_visible()
    expect(admin.locator(".form-fields")).to_contain_text(said)
    assert instance.rows("SELECT count(*) FROM features_job") == before


def test_from_home_to_a_feature_and_on_by_keyboard(page: Page, shown):
    page.goto("/")
    page.locator(f'main a[href="{shown}"]').first.click()
    page.wait_for_url(re.compile("/tiny/shown/$"))
    page.locator("#features tbody a").first.click()  # the head of the table has links that sort it
    page.wait_for_url(re.compile(r"/tiny/shown/\d+/"))
    expect(page.locator(".tokens t.peak").first).to_be_visible()
    here = page.url
    page.keyboard.press("j")
    page.wait_for_url(lambda url: url != here)
    page.keyboard.press("k")
    page.wait_for_url(here)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()


def test_everything_but_streams_works_without_javascript(browser, instance, shown):
    context = browser.new_context(base_url=instance.url, java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{shown}?order=-density")
    page.locator("#features tbody a").first.click()
    expect(page.locator(".tokens t.peak").first).to_be_visible()
    page.get_by_role("link", name="Full").or_(page.get_by_role("button", name="Full")).first.click()
    expect(page).to_have_url(re.compile("width=full"))
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 380])
def test_no_page_is_wider_than_its_window(browser, instance, shown, scheme, width):
    context = browser.new_context(
        base_url=instance.url, color_scheme=scheme, viewport={"width": width, "height": 800}
    )
    page = context.new_page()
    for address in (
        "/",
        "/tiny/",
        shown,
        f"{shown}random/",
        "/jobs/",
        "/jobs/1/",
        "/about/",
        "/accounts/login/",
    ):
        page.goto(address)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{address} is {wide} wide"
    context.close()


def test_the_api_documentation_asks_nobody_else(page: Page):
    page.goto("/api/docs/")
    expect(page.get_by_text("/api/v1/models/").first).to_be_visible()
