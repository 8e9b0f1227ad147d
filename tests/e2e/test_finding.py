"""From a question to a link that somebody else opens: features found by label, text and token,
tried, compared and kept.

Pictures of the walk go to the folder that FINDING_PICTURES names, where it names one.
"""

import os
import re
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.instance import wait_for

pytestmark = pytest.mark.chromium
PASSWORD = "a-quiet-otter-42"


@pytest.fixture
def finder(browser, instance, shown):
    """Somebody who has just signed up; requests to others and script errors fail the test."""
    context = browser.new_context(base_url=instance.url, viewport={"width": 1280, "height": 900})
    page, wrong = context.new_page(), []
    page.set_default_timeout(30_000)
    page.on(
        "request",
        lambda r: None if r.url.startswith(instance.url) else wrong.append(f"asked {r.url}"),
    )
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto("/accounts/signup/")
    page.get_by_label("Username").fill("finder")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Password confirmation").fill(PASSWORD)
    page.get_by_role("button", name="Create an account").click()
    page.wait_for_url(lambda url: "signup" not in url)
    yield page
    context.close()
    assert not wrong, wrong


def picture(page: Page, name: str) -> None:
    if folder := os.environ.get("FINDING_PICTURES"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)


def rows_of(page: Page):
    return page.locator("#results table").first.locator("tbody tr")


def text_before_peak(page: Page, feature: str, word: str) -> str:
    """The longest text up to the peak of a top example, which is on this word: there it fires."""
    bands = page.request.get(f"/api/v1/features{feature}").json()["bands"]
    texts = []
    for example in bands[0]["examples"]:
        tokens = [token["text"] for token in example["tokens"]]
        peak = next(i for i, token in enumerate(example["tokens"]) if token["peak"])
        if tokens[peak].strip() == word:
            texts.append("".join(tokens[: peak + 1]).rpartition("<|end|>")[2])
    return max(texts, key=len)


def test_from_a_question_to_a_link(finder: Page, browser, instance, shown):
    (peak,) = instance.rows(
        """SELECT f.index, t.text FROM features_peak p
            JOIN features_feature f ON f.id = p.feature_id
        JOIN features_sae s ON s.id = f.sae_id JOIN features_token t ON t.model_id = s.model_id
            AND t.token_id = p.token_id
        WHERE s.slug = 'shown' AND t.text LIKE ' %%' AND length(t.text) > 3
            ORDER BY p.examples DESC, f.density LIMIT 1"""
    )
    feature, word = f"{shown}{peak['index']}/", bytes(peak["text"]).decode().strip()

    finder.goto(feature)
    finder.keyboard.press("l")
    finder.keyboard.type(f"animals of a meadow, such as {word}")
    finder.keyboard.press("Enter")
    expect(finder.get_by_role("heading", level=1)).to_contain_text("animals of a meadow")

    # by label: words at once, with a typo; meaning a moment later
    finder.goto("/")
    finder.keyboard.press("/")
    finder.wait_for_url(re.compile("/search/"))
    finder.get_by_role("searchbox").fill("animls meadow")
    expect(finder.locator("#results mark").first).to_be_visible()
    expect(finder.locator("#results")).to_contain_text("searched for animals")
    unread = """SELECT 1 FROM features_label l
        LEFT JOIN features_labelembedding e ON e.label_id = l.id
        WHERE e.label_id IS NULL AND l.state = 'shown'"""
    wait_for(
        lambda: not instance.rows(unread), 420, "the embeddings of labels, after the jobs before it"
    )
    finder.get_by_role("searchbox").fill("creatures on grassland")
    expect(finder.locator("#results tbody")).to_contain_text("means 0.", timeout=90_000)
    expect(finder.locator(f'#results a[href="{feature}"]').first).to_be_visible()
    picture(finder, "1-label")

    # by text, and by token
    finder.goto(
        f"/search/?text={quote(text_before_peak(finder, feature, word))}&density_max=100%25"
    )
    expect(finder.locator(f'#results a[href="{feature}"]').first).to_be_visible(timeout=90_000)
    picture(finder, "2-text")
    finder.get_by_role("link", name="Token", exact=True).click()
    finder.get_by_role("searchbox").fill(word)
    expect(finder.locator(f'#results a[href="{feature}"]').first).to_be_visible()
    picture(finder, "3-token")

    # open it, and test a sentence
    finder.locator(f'#results a[href="{feature}"]').first.click()
    finder.wait_for_url(re.compile(feature))
    finder.keyboard.press("t")
    finder.keyboard.type(f"a {word} sang")
    expect(finder.locator("#test output")).to_be_visible()
    picture(finder, "4-feature")

    # beside a neighbour on one text
    neighbour = finder.locator(f'.neighbours a[href^="{shown}"]').first.get_attribute("href") or ""
    names = [address.strip("/") for address in (feature, neighbour)]
    finder.goto(f"/compare/?f={names[0]}&f={names[1]}&text=the {word} ran")
    for name in names:
        expect(finder.locator("main")).to_contain_text(name.rpartition("/")[2])
    picture(finder, "5-compare")

    # both into a collection: one from its page, one beside it
    finder.goto(feature)
    finder.keyboard.press("c")
    finder.wait_for_url(re.compile("/collections/add/"))
    finder.get_by_label("Or a new one").fill("On the meadow")
    finder.get_by_label(re.compile("Public: listed")).check()
    finder.get_by_role("button", name="Add 1 feature").click()
    finder.wait_for_url(re.compile(r"/collections/\d+/$"))
    link = finder.url
    finder.goto(f"/collections/add/?feature={names[1]}")
    finder.get_by_role("combobox", name="Collection").select_option(label="On the meadow")
    finder.get_by_label("Note").fill("its neighbour")
    finder.get_by_role("button", name="Add 1 feature").click()
    finder.wait_for_url(link)
    expect(finder.locator(".collection-items > li")).to_have_count(2)
    finder.get_by_role("button", name=f"Move {names[1]} up").click()
    expect(finder.locator(".collection-items > li").first).to_contain_text(names[1])
    picture(finder, "6-collection")

    # the link, to somebody who has no account, on a phone and without a script
    context = browser.new_context(
        viewport={"width": 380, "height": 800}, java_script_enabled=False, color_scheme="dark"
    )
    visitor = context.new_page()
    visitor.goto(link)
    expect(visitor.get_by_role("heading", name="On the meadow")).to_be_visible()
    expect(visitor.locator(".collection-items > li")).to_have_count(2)
    expect(visitor.locator(".collection-items")).to_contain_text("its neighbour")
    expect(visitor.get_by_role("button", name="Take")).to_have_count(0)
    picture(visitor, "7-link")
    visitor.goto(f"{instance.url}/search/")
    visitor.get_by_role("searchbox").fill("creatures on grassland")
    visitor.get_by_role("button", name="Search", exact=True).click()
    expect(visitor.locator("#results tbody")).to_contain_text("means 0.")
    context.close()


def test_a_lasso_on_the_map_becomes_a_collection(page: Page, instance, shown):
    page.goto(shown)
    page.wait_for_selector("#map[data-ready]")
    page.get_by_role("button", name=re.compile("^Lasso")).click()
    box = page.locator(".map-view canvas").bounding_box()
    assert box
    corners = [(0.02, 0.02), (0.9, 0.02), (0.9, 0.98), (0.02, 0.98)]
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=4)
    page.mouse.up()
    button = page.get_by_role("button", name=re.compile(r"^Add \d+ features to a collection"))
    expect(button).to_be_visible()
    picture(page, "8-lasso")
    chosen = int(re.search(r"\d+", button.inner_text())[0])
    alive = instance.rows("SELECT count(*) FROM features_feature f JOIN features_sae s ON s.id = "
"f.sae_id"
                          " WHERE s.slug = 'shown' AND map_x IS NOT NULL")[0]["count"]  # fmt: skip
    assert 0.5 * alive <= chosen <= alive
    button.click()
    page.wait_for_url(re.compile("/accounts/login/"))
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill(instance.password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(re.compile("/collections/add/"))
    page.get_by_label("Or a new one").fill("A corner of the map")
    page.get_by_role("button", name=f"Add {chosen} features").click()
    expect(page.locator(".collection-items > li")).to_have_count(chosen)
