"""Steering as people meet it: a worker that dies in the middle, a tab that is closed, and the same
run by its link.
"""

import os
import re
import signal

import pytest

from tests.e2e.instance import wait_for


@pytest.fixture
def feature(instance, shown):
    """Index of a live feature of `tiny/shown`."""
    found = instance.rows(
        "SELECT f.index FROM features_feature f JOIN features_sae s ON s.id = f.sae_id"
        " WHERE s.slug = 'shown' AND f.fires > 0 ORDER BY f.index LIMIT 1"
    )
    return found[0]["index"]


def ask(page, feature, prompt, button="Steer"):
    """Ask for a run on the page; its id."""
    page.goto(f"/steer/?model=tiny&feature=shown/{feature}")
    page.get_by_role("textbox", name="Prompt").fill(prompt)
    page.get_by_role("button", name=button, exact=True).click()
    page.wait_for_url(re.compile(r"/steer/\d+/"))
    return int(re.search(r"/steer/(\d+)/", page.url)[1])


def run(instance, pk):
    return instance.rows("SELECT * FROM features_steeringrun WHERE id = %s", pk)[0]


def inference(instance):
    (worker, *_) = sorted(
        instance.processes("--queues inference"), key=lambda process: process.create_time()
    )
    return worker


def test_a_run_whose_worker_is_killed_begins_anew_and_comes_whole(instance, page, feature):
    pk = ask(page, feature, "the cat", "Sweep strengths")
    taken = wait_for(
        lambda: (row := run(instance, pk))["state"] != "queued" and row, 60, "a worker"
    )
    assert taken["state"] == "running", "it was over before anybody could kill its worker"
    os.kill(int(taken["worker"].rpartition(":")[2]), signal.SIGKILL)
    done = wait_for(lambda: (row := run(instance, pk))["ended"] and row, 240, "the end of the run")
    assert (done["state"], done["attempts"]) == ("finished", 2), done["error"]
    assert done["worker"] != taken["worker"]
    page.get_by_text("Best dose").or_(page.get_by_text("Breaks at")).first.wait_for()


def test_a_closed_tab_gives_its_place_away(instance, page, feature):
    worker = inference(instance)
    worker.suspend()
    try:
        with page.expect_response(re.compile(r"/steer/\d+/events/")):
            pk = ask(page, feature, "a dog and")
        page.goto("/")  # the stream ends, and nobody looks any more
        wait_for(
            lambda: instance.rows(
                "SELECT 1 FROM features_steeringrun WHERE id = %s AND watched_until < now()", pk
            ),
            20,
            "the run to be given up",
        )
    finally:
        worker.resume()
    after = ask(page, feature, "it ran over")
    wait_for(lambda: run(instance, after)["state"] == "finished", 60, "the next run")
    given_up = run(instance, pk)
    assert (given_up["state"], given_up["error"]["message"]) == (
        "stopped",
        "Stopped because no page was watching.",
    )


def test_a_runs_link_shows_the_same_texts_to_anybody(instance, page, browser, feature):
    pk = ask(page, feature, "birds sang in")
    wait_for(lambda: run(instance, pk)["state"] == "finished", 60, "the run")
    page.reload()
    texts = [box.inner_text() for box in page.locator(".tokens").all()]
    assert len(texts) >= 2
    visitor = browser.new_context(base_url=instance.url).new_page()
    visitor.goto(f"/steer/{pk}/")
    assert [box.inner_text() for box in visitor.locator(".tokens").all()] == texts
    visitor.context.close()


def test_the_page_stays_from_run_to_run_and_says_what_is_refused(instance, page, feature):
    first = ask(page, feature, "the cat")
    page.evaluate("window.same = true")
    wait_for(lambda: run(instance, first)["state"] == "finished", 60, "the run")
    page.get_by_role("textbox", name="Prompt").fill("")
    page.get_by_role("button", name="Steer", exact=True).click()
    page.get_by_role("alert").get_by_text("Enter a prompt").wait_for()
    page.get_by_role("textbox", name="Prompt").fill("a cat saw")
    page.get_by_label(f"Strength of shown/{feature}").fill("0.25")
    page.get_by_label(f"Strength of shown/{feature}").press("Enter")
    page.wait_for_url(lambda url: url.endswith("/") and not url.endswith(f"/{first}/"))
    second = int(re.search(r"/steer/(\d+)/", page.url)[1])
    assert [
        intervention["strength"] for intervention in run(instance, second)["params"]["features"]
    ] == [0.25]
    page.locator("#mine").get_by_text("Your last runs").click()
    page.locator("#mine").get_by_role("link", name=str(second), exact=True).wait_for()
    assert page.evaluate("window.same"), "no page was loaded in between"
    assert page.title().startswith(f"Steering {second}")
    page.go_back()
    page.wait_for_function(f"document.title.startsWith('Steering {first}')")
    page.locator('[data-row="1"] t').first.wait_for()
    assert not page.get_by_role("alert").count(), "what was refused in between is over"


def held(page, method, address):
    """Hold back what the page asks there, until it is let go on."""
    requests = []
    page.route(
        address,
        lambda route: (
            requests.append(route) if route.request.method == method else route.continue_()
        ),
    )
    return requests


def test_a_refusal_is_seen_where_the_run_before_it_ends_meanwhile(instance, page, feature):
    worker = inference(instance)
    worker.suspend()
    try:
        ask(page, feature, "the dog ran")
        asked = held(page, "POST", "**/steer/")
        page.get_by_role("textbox", name="Prompt").fill("")
        with page.expect_request("**/steer/"):
            page.get_by_role("button", name="Steer", exact=True).click()
    finally:
        worker.resume()
    page.get_by_text("Underlined tokens differ").or_(page.get_by_text("changed nothing")).wait_for()
    asked[0].continue_()
    page.get_by_role("alert").get_by_text("Enter a prompt").wait_for()


def test_the_end_of_a_run_takes_no_place_from_the_next(instance, page, feature):
    worker = inference(instance)
    worker.suspend()
    try:
        first = ask(page, feature, "a bird sang")
        ended = held(page, "GET", f"**/steer/{first}/")
    finally:
        with page.expect_request(f"**/steer/{first}/"):
            worker.resume()
    page.get_by_role("textbox", name="Prompt").fill("the cat saw")
    page.get_by_role("button", name="Steer", exact=True).click()
    page.wait_for_url(lambda url: re.search(r"/steer/\d+/", url) and f"/{first}/" not in url)
    told = page.get_by_text("Underlined tokens differ").or_(page.get_by_text("changed nothing"))
    told.wait_for()
    page.evaluate("document.querySelector('#result > div').id = 'second'")
    with page.expect_response(f"**/steer/{first}/"):
        ended[0].continue_()
    page.wait_for_timeout(500)
    assert page.locator("#result > #second").count(), "the first run took the place of the second"


def test_back_to_a_run_under_way_goes_on_with_it(instance, page, feature):
    worker = inference(instance)
    worker.suspend()
    try:
        first = ask(page, feature, "the bird saw")
        page.get_by_role("textbox", name="Prompt").fill("a dog ran")
        page.get_by_role("button", name="Steer", exact=True).click()
        page.wait_for_url(lambda url: re.search(r"/steer/\d+/", url) and f"/{first}/" not in url)
        page.go_back()
        page.wait_for_function(f"document.title.startsWith('Steering {first}')")
    finally:
        worker.resume()
    page.get_by_text("Underlined tokens differ").or_(page.get_by_text("changed nothing")).wait_for()
    assert run(instance, first)["state"] == "finished"
