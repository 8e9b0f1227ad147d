"""People label a feature together in real browsers: at once, by keyboard, without script, and
nothing is lost.
"""

import re
import threading

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.chromium
PASSWORD = "a-quiet-otter-42"
ONE_OF_A_KIND = "window.notReloaded = true"


@pytest.fixture
def people(browser, instance, shown):
    """Opens the pages of people who have just signed up, each in a browser context of their own;
    script errors fail the test.
    """
    contexts, wrong = [], []

    def sign_up(name: str, **options) -> Page:
        context = browser.new_context(
            base_url=instance.url, viewport={"width": 1280, "height": 900}, **options
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: wrong.append(f"{name}: {error}"))
        page.on(
            "console",
            lambda said: wrong.append(f"{name}: {said.text}") if said.type == "error" else None,
        )
        page.goto("/accounts/signup/")
        page.get_by_label("Username").fill(name)
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_label("Password confirmation").fill(PASSWORD)
        page.get_by_role("button", name="Create an account").click()
        page.wait_for_url(lambda url: "signup" not in url)
        return page

    yield sign_up
    for context in contexts:
        context.close()
    assert not wrong, wrong


@pytest.fixture
def feature(instance, shown):
    """The address of a live feature that no other test here writes to."""
    (row,) = instance.rows(
        """SELECT f.index FROM features_feature f JOIN features_sae s ON s.id = f.sae_id
        WHERE s.slug = 'shown' AND f.fires > 0 AND NOT EXISTS (SELECT 1 FROM features_label
            WHERE feature_id = f.id)
        ORDER BY f.index LIMIT 1"""
    )
    return f"{shown}{row['index']}/"


def labels_of(instance, feature):
    return instance.rows(
        """SELECT l.*, u.username FROM features_label l
            JOIN features_feature f ON f.id = l.feature_id
        JOIN features_sae s ON s.id = f.sae_id JOIN explorer_user u ON u.id = l.author_id
        WHERE s.slug = 'shown' AND f.index = %s ORDER BY l.id""",
        int(feature.rstrip("/").rpartition("/")[2]),
    )


def say(page: Page, text: str) -> None:
    page.keyboard.press("l")
    page.keyboard.type(text)
    page.keyboard.press("Enter")


def test_a_label_by_keyboard_becomes_the_heading_without_a_reload(people, feature):
    page = people("keyes")
    page.goto(feature)
    page.evaluate(ONE_OF_A_KIND)
    say(page, "a word of <b>three</b> letters")
    expect(page.get_by_role("heading", level=1)).to_have_text("a word of <b>three</b> letters")
    expect(page.locator("#labels .label-entry")).to_have_count(1)
    assert page.evaluate("window.notReloaded") is True


def test_three_at_once_label_vote_and_edit_one_feature_and_nothing_is_lost(
    people, instance, feature
):
    anna, bert, carl = people("anna"), people("bert"), people("carl")
    anna.goto(feature)
    say(anna, "animals")
    expect(anna.locator("#labels .label-entry")).to_have_count(1)
    for page in (bert, carl):
        page.goto(feature)
    label = labels_of(instance, feature)[0]["id"]

    # Each has the page as it was; what they do crosses on the way.
    anna.locator(f"#label-{label} summary", has_text="Edit").click()
    anna.get_by_label("Label text").fill("animals and birds")
    bert.get_by_label("What does this feature represent?").fill("things that run")
    bert_and_anna = [
        anna.locator(f"#label-{label}").get_by_role("button", name="Save"),
        bert.get_by_role("button", name="Add", exact=True),
        carl.get_by_role("button", name="For: animals"),
    ]
    for button in bert_and_anna:
        button.click(no_wait_after=True)
    expect(bert.locator("#labels")).to_contain_text("things that run")
    expect(anna.locator(f"#label-{label} .label-text")).to_contain_text("animals and birds")
    expect(
        carl.locator(f"#label-{label}")
        .get_by_text("You voted on an earlier version")
        .or_(carl.locator(f"#label-{label} [aria-pressed=true]"))
    ).to_be_visible()
    for page in (anna, bert, carl):
        page.goto(feature)
        expect(page.locator("#labels")).to_contain_text("animals and birds")
        expect(page.locator("#labels")).to_contain_text("things that run")
    rows = labels_of(instance, feature)
    assert {(row["username"], row["text"]) for row in rows} == {
        ("anna", "animals and birds"),
        ("bert", "things that run"),
    }
    votes = instance.rows("SELECT value, version FROM features_vote WHERE label_id = %s", label)
    assert votes == [{"value": 1, "version": 1}], "of the words that Carl had before him"
    said = instance.rows(
        "SELECT text FROM features_labelrevision WHERE label_id = %s ORDER BY version", label
    )
    assert [row["text"] for row in said] == ["animals", "animals and birds"]


def test_the_slower_editor_sees_the_newer_words_and_keeps_their_own(
    people, admin: Page, instance, feature
):
    page = people("dora")
    page.goto(feature)
    say(page, "first words")
    expect(page.locator("#labels .label-entry")).to_have_count(1)
    admin.goto(feature)
    for editor, text in ((page, "the author's words"), (admin, "a curator's words")):
        editor.locator("#labels summary", has_text="Edit").click()
        editor.get_by_label("Label text").fill(text)
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#labels .label-text")).to_contain_text("the author's words")
    admin.get_by_role("button", name="Save").click()
    expect(admin.get_by_role("alert")).to_contain_text("the author's words")
    expect(admin.get_by_label("Label text")).to_have_value("a curator's words")
    admin.get_by_role("button", name="Save").click()
    expect(admin.locator("#labels .label-text")).to_contain_text("a curator's words")
    (row,) = labels_of(instance, feature)
    assert (row["text"], row["version"]) == ("a curator's words", 3)


def test_many_writers_at_once_over_http_lose_nothing(people, instance, feature):
    """Eight threads post what browsers post, all at the same moment; every label and vote is there,
    and the sums are right.
    """
    page = people("first")
    page.goto(feature)
    say(page, "the one that is voted on")
    expect(page.locator("#labels .label-entry")).to_have_count(1)
    label = labels_of(instance, feature)[0]["id"]
    writers = [people(f"writer{i}") for i in range(3)]
    sessions = [
        (
            {c["name"]: c["value"] for c in w.context.cookies()},
            w.locator("[name=csrfmiddlewaretoken]").first.input_value(),
        )
        for w in writers
        if w.goto(feature)
    ]
    requests = pytest.importorskip("requests")
    start, answers = threading.Barrier(len(sessions)), []

    def write(number: int) -> None:
        cookies, token = sessions[number]
        start.wait(10)
        for round_ in range(5):
            for address, data in (
                (f"{feature}labels/", {"text": f"writer {number} round {round_}"}),
                (f"/labels/{label}/vote/", {"value": "1" if round_ % 2 == 0 else "-1"}),
                (f"{feature}comments/", {"text": f"comment {number} {round_}"}),
            ):
                sent = data | {"csrfmiddlewaretoken": token}
                headers = {"Referer": instance.url}
                answer = requests.post(
                    instance.url + address,
                    sent,
                    cookies=cookies,
                    headers=headers,
                    allow_redirects=False,
                    timeout=60,
                )
                answers.append(answer.status_code)

    threads = [threading.Thread(target=write, args=[i]) for i in range(len(sessions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert set(answers) == {302}
    rows = labels_of(instance, feature)
    assert len(rows) == 1 + 15
    (voted,) = [row for row in rows if row["id"] == label]
    assert (voted["up"], voted["down"]) == (3, 0), "the last vote of each was for it"
    (count,) = instance.rows(
        "SELECT count(*) AS n FROM features_comment WHERE text LIKE 'comment %%'"
    )
    assert count["n"] == 15


def test_the_queue_by_keyboard_without_leaving_the_page(people, instance, shown):
    page = people("quick")
    instance.rows(
        "UPDATE features_feature SET density = least(density, 0.09) WHERE fires > 0 RETURNING id"
    )
    page.goto("/labels/queue/?sae=tiny/shown")
    page.evaluate(ONE_OF_A_KIND)
    seen = []
    for text in ("one meaning", "", "another meaning"):
        seen.append(page.locator(".queue").get_attribute("aria-label"))
        page.keyboard.type(text)
        page.keyboard.press("Enter")
        expect(page.locator(".queue")).not_to_have_attribute("aria-label", seen[-1])
        expect(page.locator(".htmx-added")).to_have_count(0)  # now htmx handles its forms
    assert len(set(seen)) == 3
    assert page.evaluate("window.notReloaded") is True
    mine = instance.rows(
        "SELECT text FROM features_label l JOIN explorer_user u ON u.id = l.author_id WHERE "
        "username = 'quick' ORDER BY l.id"
    )
    assert [row["text"] for row in mine] == ["one meaning", "another meaning"]


def test_all_of_it_works_without_javascript(people, instance, feature):
    page = people("plain", java_script_enabled=False)
    page.goto(feature)
    page.get_by_label("What does this feature represent?").fill("said without script")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("said without script")
    page.get_by_label("Your comment").fill("Because it is so.")
    page.get_by_role("button", name="Comment").click()
    expect(page.locator("#talk")).to_contain_text("Because it is so.")
    page.locator("#labels summary", has_text="Edit").click()
    page.get_by_label("Label text").fill("edited without script")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("edited without script")


def test_what_a_visitor_writes_waits_until_they_are_signed_in(browser, instance, feature, people):
    people("visitor")
    context = browser.new_context(base_url=instance.url)
    page = context.new_page()
    page.goto(feature)
    page.get_by_label("What does this feature represent?").fill("written before signing in")
    page.get_by_role("button", name="Sign in and add").click()
    page.get_by_label("Username").fill("visitor")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(re.compile(re.escape(feature)))
    expect(page.get_by_label("What does this feature represent?")).to_have_value(
        "written before signing in"
    )
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("written before signing in")
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 380])
def test_no_page_about_labels_is_wider_than_its_window(
    browser, instance, shown, admin: Page, scheme, width
):
    admin.emulate_media(color_scheme=scheme)
    admin.set_viewport_size({"width": width, "height": 800})
    places = ("", "queue/", "disputed/", "moderation/", "uploads/", "by/admin/")
    for address in (
        *(f"/labels/{place}" for place in places),
        f"{shown}labels/",
        f"{shown}random/",
    ):
        admin.goto(address)
        wide = admin.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{address} is {wide} wide"
