"""Everyone reaches everything: axe finds nothing serious, no page is wider than a phone, keys work,
scripts stay small.
"""

import gzip
import os
import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from features.inference import requests as inference_requests
from features.ingest import matches as match_ingest
from features.jobs import events as job_events
from features.jobs import execution as job_execution
from features.jobs import lifecycle
from features.models import Sequence
from features.records import Evaluation, FeatureMatches, Metrics, SaeMatches
from features.services import catalog as catalog_services
from tests import builders

pytestmark = [pytest.mark.chromium, pytest.mark.django_db(transaction=True)]
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = (
    "1"  # Playwright's event loop is in this thread, and waits while we read rows
)
SCRIPT_BYTES = 40_000
"""Of a page's first load, as sent. The API's documentation and the admin are libraries' own, with
scripts of theirs.
"""


@pytest.fixture
def pages(db, transactional_db, monkeypatch):
    """An address of every kind of page, with something on it; a worker is played: every token
    lights features 0 and 5.
    """
    monkeypatch.setenv(
        "DJANGO_ALLOW_ASYNC_UNSAFE", "1"
    )  # Playwright has an event loop in this thread, which waits meanwhile
    planted = builders.planted(width=120)
    other = builders.sae(planted.model, "3-res", trained_on=planted.corpus)
    contexts = builders.sequences()
    builders.dashboards(
        other, planted.corpus, [builders.firing(i, " day", contexts) for i in range(8)], contexts
    )
    values = {"l0": 24.0, "explained_variance": 0.83, "ce_loss_score": 0.9, "kl_score": 0.9}
    for sae in (planted.sae, other):
        catalog_services.keep_evaluation(
            sae, Evaluation(5000, values, [0, 1, 2]), planted.corpus, None
        )
    near = [FeatureMatches([i % 8 for i in range(120)], [0.5 + i / 300 for i in range(120)])]
    near.append(FeatureMatches([i * 9 for i in range(8)], [0.75] * 8))
    match_ingest.write(planted.sae, other, SaeMatches(*near), None)
    job = job_execution.claim(
        lifecycle.create(
            "train_sae", {"model": "tiny", "slug": "9-res", "corpus": "tiny-stories"}
        ).pk,
        "here",
    )
    job_events.metrics(job.pk, Metrics(1000, {"explained_variance": 0.5, "l0": 30.0}))
    job_execution.fail(job, "It broke.")
    monkeypatch.setattr(inference_requests, "request", _ask)
    feature, context = "/tiny/2-res/8/", Sequence.objects.first()
    return {
        "home": "/",
        "model": "/tiny/",
        "sae": "/tiny/2-res/?columns=cluster&columns=density&order=-density",
        "feature": f"{feature}?text=+day+a+fox+ran",
        "feature-full": f"{feature}?width=full",
        "feature-stacked": f"{feature}?width=stacked",
        "dead": "/tiny/2-res/3/",
        "embed": f"{feature}embed/?width=stacked",
        "context": f"/tiny/2-res/contexts/{context.pk}/?feature=2-res/8",
        "compare": "/tiny/compare/",
        "matches": "/tiny/2-res/matches/3-res/",
        "beside": "/compare/?f=tiny/2-res/0&f=5&text=+day+a+fox",
        "text": "/search/?text=+day+a+fox&density_max=100%25",
        "texts": "/search/?text=+day&text2=+fox&density_max=100%25",
        "token": "/search/?token=day",
        "registry": "/registry/",
        "jobs": "/jobs/",
        "job": job.get_absolute_url(),
        "workers": "/jobs/workers/",
        "about": "/about/",
        "pattern": "/pattern/",
        "sign-in": "/accounts/login/",
        "nothing": "/nobody/",
    }


def _ask(question, patience=0):
    ids = question.get("token_ids") or builders.encode(question["text"])
    if question["kind"] == "read_feature":
        return {"token_ids": ids, "values": [0.0, *(1.0 for _ in ids[1:])], "left_out": []}
    fired = [[[], []], *([[0, 5], [1.5, 0.5]] for _ in ids[1:])]
    answer = {"token_ids": ids, "fired": fired, "left_out": []}
    return dict.fromkeys(question["saes"], answer)


@pytest.fixture
def site(live_server, pages):
    """Its address."""
    return live_server.url


@pytest.fixture
def page(browser, site):
    """A fresh visitor; any request to another host or script error fails the test."""
    context = browser.new_context(base_url=site, viewport={"width": 1280, "height": 900})
    page, wrong = context.new_page(), []
    page.set_default_timeout(20_000)
    page.on("request", lambda r: None if r.url.startswith(site) else wrong.append(f"asked {r.url}"))
    page.on("pageerror", lambda error: wrong.append(f"script error: {error}"))
    yield page
    context.close()
    assert not wrong, wrong


def opened(browser, site, **options):
    context = browser.new_context(base_url=site, **options)
    return context, context.new_page()


def visit(page, address):
    """Go there, and give scripts a moment to draw."""
    answer = page.goto(address)
    assert answer.status == (404 if address == "/nobody/" else 200), address
    page.wait_for_timeout(300)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_on_any_page(browser, site, pages, scheme):
    context, page = opened(browser, site, color_scheme=scheme)
    found = []
    for name, address in pages.items():
        visit(page, address)
        for violation in Axe().run(page).response["violations"]:
            if violation["impact"] in ("serious", "critical"):
                where = [node["html"][:160] for node in violation["nodes"][:3]]
                found.append(f"{name}: {violation['id']}, {violation['help']}: {where}")
    context.close()
    assert not found, "\n".join(found)


@pytest.mark.parametrize("width", [1280, 380])
def test_no_page_scrolls_sideways(browser, site, pages, width):
    context, page = opened(browser, site, viewport={"width": width, "height": 800})
    wide = {}
    for name, address in pages.items():
        visit(page, address)
        if (found := page.evaluate("document.documentElement.scrollWidth")) > width:
            wide[name] = found
        if folder := os.environ.get("REACHING_PICTURES"):
            page.screenshot(path=f"{folder}/{name}-{width}.png", full_page=True)
    context.close()
    assert not wide


def test_every_page_has_its_landmarks_and_one_heading(browser, site, pages):
    context, page = opened(browser, site)
    for name, address in pages.items():
        visit(page, address)
        assert page.locator("h1").count() == 1, name
        assert page.locator("main").count() == 1, name
        if name != "embed":
            first = page.evaluate(
                "document.querySelector('a, button, input, select, textarea, [tabindex]').className"
            )
            assert first == "skip", f"{name}: Tab reaches the way to the content first"
            assert page.locator("header, nav, footer").count() >= 3, name
    context.close()


def test_no_page_loads_more_script_than_it_may(client, pages):
    """What is asked for by the page and by its modules, as it goes over the wire."""
    for name, address in pages.items():
        scripts, todo = (
            {},
            re.findall(r'<script[^>]* src="([^"]+)"', client.get(address).content.decode()),
        )
        while todo:
            if (one := todo.pop()) not in scripts:
                sent = client.get(one, headers={"accept-encoding": "gzip"}).content
                scripts[one] = len(sent)
                modules = re.findall(r'from "\./([^"]+)"', gzip.decompress(sent).decode())
                todo += [f"{one.rpartition('/')[0]}/{module}" for module in modules]
        assert all(scripts.values()), f"{name}: {scripts}"
        assert sum(scripts.values()) <= SCRIPT_BYTES, f"{name}: {scripts}"


def test_values_are_pinned_by_click_and_by_key_and_the_address_keeps_them(page: Page, pages):
    page.goto(pages["feature"])
    firing = page.locator("#examples .tokens").first.locator("t[data-v]")
    firing.first.click()
    expect(firing.first).to_have_class(re.compile("pinned"))
    expect(page).to_have_url(re.compile(r"pin=0\.0"))
    page.reload()
    expect(firing.first).to_have_class(re.compile("pinned"))
    firing.first.focus()
    page.keyboard.press("Enter")
    expect(firing.first).not_to_have_class(re.compile("pinned"))
    page.keyboard.press(" ")
    expect(firing.first).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Escape")
    expect(page.locator("t.pinned")).to_have_count(0)
    expect(page).not_to_have_url(re.compile("pin="))


def test_a_typed_text_marks_the_histogram_and_stays_on_the_way_on(page: Page, pages):
    page.goto(pages["feature-full"])
    page.keyboard.press("t")
    page.keyboard.type(" day after a fox")
    expect(page.locator("#test .tokens")).to_contain_text("fox")
    expect(page.locator("#histogram .mark")).to_have_count(1)
    here = page.url
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    page.locator("main").focus()
    page.keyboard.press("j")
    page.wait_for_url(lambda url: url != here and "fox" in url and "width=full" in url)


def test_an_example_goes_into_the_test_box_and_to_its_context(page: Page, pages):
    page.goto(pages["feature-full"])
    page.locator("#examples .example-try").first.click()
    page.wait_for_url(re.compile("text="))
    expect(page.locator("#test .tokens")).to_be_visible()
    page.locator("#examples output a").first.click()
    page.wait_for_url(re.compile("/contexts/"))
    boxes = page.locator(".tokens.choose label")
    boxes.nth(3).click()
    expect(page.get_by_text("Features on the chosen tokens")).to_be_visible()
    expect(page).to_have_url(re.compile("tokens="))


def test_a_range_drawn_across_the_plot_filters_the_list(page: Page, pages):
    page.goto("/tiny/2-res/")
    plot = page.locator(".brush svg")
    box = plot.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 30)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 30, steps=4)
    page.mouse.up()
    expect(page).to_have_url(re.compile("density_min=0.0016"))
    expect(page.locator("#id_density_max")).to_have_value("0.2")
    plot.locator("a").nth(9).click()
    expect(page).to_have_url(re.compile(r"density_min=0\.0032"))


def test_the_list_is_sorted_by_its_headings_without_a_reload(page: Page, pages):
    page.goto("/tiny/2-res/")
    page.evaluate("window.notReloaded = true")
    page.get_by_role("link", name="Maximum").click()
    expect(page.locator("th[aria-sort=descending]")).to_contain_text("Maximum")
    page.locator("#id_alive").select_option("all")
    expect(page).to_have_url(re.compile("order=-max_activation"))
    expect(page).to_have_url(re.compile("alive=all"))
    assert page.evaluate("window.notReloaded")


@pytest.mark.parametrize("width", [1280, 380])
def test_keys_are_listed_where_they_work(page: Page, pages, width):
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(pages["feature"])
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keyboard shortcuts")
    groups = dialog.locator("tbody")
    expect(groups.locator("th")).to_have_text(["On this page", "Everywhere"])
    rows = [row.locator("td").all_text_contents() for row in groups.locator("tr:has(td)").all()]
    assert {"/", "j", "k", "r", "t", "?"} <= {key for key, _ in rows}
    assert ["s", "Steer with this feature"] in rows
    assert ["?", "Show these shortcuts"] in rows
    for key in dialog.locator("kbd").all():
        expect(key).to_be_visible()
    boxes = [cell.bounding_box() for cell in dialog.locator("td:last-child").all()]
    assert len({box["x"] for box in boxes}) == 1, "what keys do stands in one column"
