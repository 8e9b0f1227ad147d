"""Steering on its page and through the API: what is asked, what is shown, what streams, and what is
refused.
"""

import asyncio
import json
import re

import pytest
from asgiref.sync import sync_to_async
from django.db import connection, connections
from django.http import QueryDict
from django.test import Client
from django.test.utils import CaptureQueriesContext

from explorer.http import sse
from features.models import SteeringRequest, SteeringRun, Worker
from features.queue import messages, notifications
from features.records import WorkerState
from features.services import workers as worker_services
from features.steering import execution as steering_execution
from features.steering import runs as steering_runs
from tests import builders
from tests.page import Page

pytestmark = pytest.mark.django_db
FORM = {
    "model": "tiny",
    "prompt": "One day",
    "feature": "2-res/0",
    "method": "add",
    "strength": "2",
    "unit": "maximum",
}
BODY = {
    "model": "tiny",
    "prompt": "One day",
    "features": [{"sae": "2-res", "index": 0, "strength": 2}],
}
DAY, FOX = 258, 260


@pytest.fixture(autouse=True)
def planted(monkeypatch):
    worker_services.here("a:1", ["inference"], WorkerState("cpu", "0", 1, 1, 1, None, None))
    monkeypatch.setattr(messages.current_app, "send_task", lambda *args, **kwargs: None)
    return builders.planted()


def run_of(client, **changes):
    """Start a run by its form; its row."""
    response = client.post("/steer/", FORM | changes)
    assert response.status_code == 302, Page(response)
    return SteeringRun.objects.get(pk=response.url.strip("/").split("/")[-1])


def worked(run):
    """A worker's part: a prompt, and two tokens of each text, the second of which differs."""
    took = steering_execution.claim_next("w")
    assert took == run
    steering_execution.write(
        took,
        [
            {"prompt": [0, 257, DAY], "activations": [[0, 0, 1.5]]},
            {"ids": [DAY, DAY], "logprobs": [-0.5, -0.5]},
        ],
    )
    measured = {"kl": [[0, 0], [0, 0.75]], "surprise": [[0.5, 1.5], [0.5, 3.5]]}
    values = {"activations": [[[1.0, 0], [1.0, 2.0]]], "mass": [[[0.1, 0.1], [0.1, 0.2]]]}
    steering_execution.write(
        took, [{"ids": [FOX, 257], "logprobs": [-1.5, -0.25]}, {"start": 0, **measured, **values}]
    )
    steering_execution.finish(took)


def test_the_playground_is_the_same_page(client):
    assert client.get("/playground/?model=tiny").url == "/steer/?model=tiny"
    assert client.get("/steer/").status_code == 200


def test_the_key_on_a_features_page_opens_it_with_the_feature(client):
    page = Page(client.get("/tiny/2-res/0/"))
    link = re.search(r'href="(/steer/[^"]+)" data-key="s"', page)[1].replace("&amp;", "&")
    form = Page(client.get(link))
    assert form.has('input[type="hidden"][name="feature"][value="2-res/0"]')
    assert form.has("main", "its maximum is 2")


def test_features_are_found_added_and_taken_away_without_javascript(client):
    found = Page(client.get("/steer/", {"model": "tiny", "q": "2-res/1"}))
    assert found.has('button[name="add"][value="2-res/1"]')
    assert Page(client.get("/steer/", {"model": "tiny", "q": "2-res/3"})).has(
        "main", "No live feature"
    )
    two = Page(client.get("/steer/", FORM | {"add": "2-res/1"}))
    assert re.findall(r'name="feature" value="([^"]+)"', two) == ["2-res/0", "2-res/1"]
    one = Page(
        client.get("/steer/", FORM | {"feature": ["2-res/0", "2-res/1"], "remove": "2-res/0"})
    )
    assert re.findall(r'name="feature" value="([^"]+)"', one) == ["2-res/1"]
    fragment = client.get(
        "/steer/",
        {"model": "tiny", "q": "1"},
        headers={"HX-Request": "true", "HX-Target": "matches"},
    )
    assert "<html" not in Page(fragment)


def test_a_preset_fills_how_tokens_are_drawn(client):
    page = Page(client.get("/steer/", FORM | {"preset": "Greedy", "seed": "7"}))
    assert re.search(r'name="temperature"[^>]*value="0"', page)
    assert re.search(r'name="seed"[^>]*value="7"', page)


def test_a_run_is_shown_beside_the_default_with_every_number(client):
    run = run_of(client)
    worked(run)
    page = Page(client.get(run.get_absolute_url()))
    assert page.has("#result h2", "1.00 nats per token")
    assert page.has("#result h2", "2.00 nats per token")
    assert page.has('t[class="changed"]')
    assert "log-probability -0.250 · KL from default 0.750 · activation 2.00" in page
    assert page.has("#result p", "KL from default 0.375 nats per token")
    assert "<del> fox</del><ins> One</ins>" in page
    assert "http-equiv" not in page
    assert page.has('[value="2-res/0"]'), "the form is as it was"


def test_without_javascript_a_run_that_goes_on_reloads_itself(client):
    page = Page(client.get(run_of(client).get_absolute_url()))
    assert '<noscript><meta http-equiv="refresh"' in page
    assert page.has("#result button", "Stop")


def test_the_link_of_a_run_fills_the_form_that_starts_the_same(client):
    run = run_of(client, where="chosen", tokens="1,2", special="on", seed="5")
    page = Page(client.get(run.get_absolute_url()))
    query = re.search(r'href="/steer/\?([^"]+)"', page)[1].replace("&amp;", "&")
    again = client.post("/steer/", dict(QueryDict(query).lists()))
    assert again.url == run.get_absolute_url()


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"strength": "1e9"}, 422, "from -100 to 100"),
        ({"strength": "nan"}, 422, "from -100 to 100"),
        ({"feature": []}, 422, "1 to 32"),
        ({"feature": [f"2-res/{n}" for n in range(200)]}, 422, "these are 33"),
        ({"feature": "other/0"}, 422, "no feature other/0"),
        ({"feature": "2-res/3"}, 422, "never fired"),
        ({"feature": "nonsense"}, 422, "name a feature"),
        ({"prompt": ""}, 422, "Enter a prompt"),
        ({"prompt": "a" * 20_001}, 422, "at most 20000"),
        ({"model": "none"}, 422, "no model"),
        ({"sweep": "1", "method": "ablate"}, 422, "one feature that is added"),
    ],
)
def test_what_is_wrong_is_said_on_the_form_and_nothing_is_written(client, changes, status, words):
    response = client.post("/steer/", FORM | changes)
    assert response.status_code == status
    assert Page(response).has("#result [role=alert]", words)
    assert not SteeringRun.objects.exists()


def test_too_many_and_nobody_there_are_told(client):
    for seed in range(steering_runs.MAX_AT_ONCE):
        run_of(client, seed=seed)
    response = client.post("/steer/", FORM | {"seed": "99"})
    assert (response.status_code, "under way already" in Page(response)) == (429, True)
    SteeringRun.objects.all().delete()
    Worker.objects.all().delete()
    response = client.post("/steer/", FORM)
    assert (response.status_code, "steering is not available" in Page(response)) == (
        503,
        True,
    )


def test_only_who_asked_stops_a_run(client):
    run = run_of(client)
    SteeringRequest.objects.update(who="somebody else")
    client.post(f"/steer/{run.pk}/stop/")
    run.refresh_from_db()
    assert run.state == "queued"
    SteeringRequest.objects.all().delete()
    ada = builders.cast()[0]
    client.force_login(ada)
    assert client.post(f"/steer/{run.pk}/stop/").status_code == 302
    run.refresh_from_db()
    assert run.state == "stopped"
    assert Page(client.get(run.get_absolute_url())).has("#result p", "Stopped.")
    assert client.post("/steer/99999/stop/").status_code == 404


def test_runs_are_ones_history_and_with_a_name_ones_preset(client):
    run = run_of(client)
    client.post(f"/steer/{run.pk}/name/", {"name": "Days"})
    page = Page(client.get("/steer/"))
    assert f'<a href="/steer/{run.pk}/">Days</a>' in page
    client.force_login(builders.cast()[1])
    assert "Days" not in Page(client.get("/steer/")), "another person has another history"


def test_visitors_behind_one_address_share_its_turns_and_not_their_history(client):
    other = Client()
    mine, theirs = run_of(client), run_of(other, seed=2)
    page = Page(client.get("/steer/"))
    assert (f'href="/steer/{mine.pk}/"' in page, f'href="/steer/{theirs.pk}/"' in page) == (
        True,
        False,
    )
    client.post(f"/steer/{theirs.pk}/stop/")
    theirs.refresh_from_db()
    assert theirs.state == "queued", "another visitor asked for it"
    assert mine.requested_by == theirs.requested_by
    assert f"/steer/{mine.pk}/" not in Page(Client().get("/steer/"))


def test_an_intervention_begins_with_the_dose_that_a_sweep_marked(client, planted):
    def strength(query=""):
        page = Page(client.get(f"/steer/?model=tiny&feature=2-res/0{query}"))
        return re.search(r'name="strength" value="([^"]*)"', page)[1]

    assert strength() == "0.5"
    run = SteeringRun(model=planted.model, params={"features": [SWEPT_FEATURE]})
    steering_execution.store_best_dose(run, {"strengths": [0.2, 0.35], "best": 1})
    assert (strength(), strength("&strength=3"), strength("&unit=norm")) == ("0.35", "3", "0.5")
    assert Page(client.get("/steer/?model=tiny&feature=2-res/0")).has("main", "a sweep marked 0.35")
    assert Page(client.get("/tiny/2-res/0/")).has("#effect dt", "Best dose")
    steering_execution.store_best_dose(run, {"strengths": [0.2, 0.35], "best": None})
    assert strength() == "0.5"
    steering_execution.store_best_dose(run, {"strengths": [0.2, 0.35], "best": 0})
    contexts = builders.sequences()
    builders.dashboards(
        planted.sae, planted.corpus, [builders.firing(0, " day", contexts, 9.0)], contexts
    )
    assert strength() == "0.5", "its maximum is another one now"


SWEPT_FEATURE = {
    "sae": "2-res",
    "index": 0,
    "method": "add",
    "unit": "maximum",
    "sha256": "9ab3" * 16,
}


def test_a_failed_run_says_why_and_shows_no_text(client):
    run = run_of(client)
    steering_execution.fail(
        steering_execution.claim_next("w"), "length", "The prompt has too many tokens."
    )
    page = Page(client.get(run.get_absolute_url()))
    assert page.has("#result [role=alert]", "The prompt has too many tokens.")
    assert "data-row" not in page
    assert client.get("/steer/424242/").status_code == 404
    assert client.get(f"/steer/{10**30}/").status_code == 404


def test_the_number_of_queries_does_not_grow_with_features_or_tokens(client):
    run = run_of(client)
    worked(run)

    def queries(run):
        with CaptureQueriesContext(connection) as seen:
            assert client.get(run.get_absolute_url()).status_code == 200
        return len(seen)

    few = queries(run)
    many = {
        "feature": ["2-res/0", "2-res/1", "2-res/2"],
        "method": ["add"] * 3,
        "strength": ["1"] * 3,
        "unit": ["maximum"] * 3,
    }
    other = run_of(client, **many)
    took = steering_execution.claim_next("w")
    for n in range(20):
        steering_execution.write(took, [{"ids": [DAY, 257 + n % 10], "logprobs": [-1, -1]}])
    steering_execution.finish(took)
    assert queries(other) == few


DOSE = {
    "strengths": [1.0, 2.0],
    "feature": {name: [0.1, 0.5] for name in ("concept", "mass", "surprise", "distinct", "damage")},
    "control": {
        name: [[0.1, 0.2], [0.0, 0.1]]
        for name in ("concept", "mass", "surprise", "distinct", "damage")
    },
    "default": dict.fromkeys(("concept", "mass", "surprise", "distinct", "damage"), 0.05),
    "best": 1,
    "breaks": None,
    "texts": [[DAY], [FOX], [257]],
}


def test_a_sweep_is_drawn_with_its_marks_and_controls(client):
    run = run_of(client, sweep="1")
    assert len(run.params["strengths"]) == 8
    assert len(run.params["neutral"]) > 0
    took = steering_execution.claim_next("w")
    steering_execution.write(took, [{"done": 3, "total": 10}])
    bar = Page(client.get(run.get_absolute_url())).one('[data-progress][role="progressbar"]')
    assert (bar["aria-valuenow"], bar["style"]) == ("30", "--p:0.300")
    steering_execution.write(took, [{"dose": DOSE}])
    steering_execution.finish(took)
    page = Page(client.get(run.get_absolute_url()))
    assert "best dose <b>2×</b>" in page
    assert page.count('class="control"') == 5
    assert page.has("#dose p", "2 random directions of equal norm")
    assert page.has("#dose p", " fox")
    assert re.search(r'href="/steer/\?[^"]*strength=2[^"]*">Steer with 2×', page)


def test_the_api_waits_for_a_run_and_shows_what_the_page_shows(client, monkeypatch):
    monkeypatch.setattr(
        steering_runs, "wait", lambda pk, patience: worked(SteeringRun.objects.get(pk=pk)) is None
    )
    response = client.post("/api/v1/steer/", BODY, content_type="application/json")
    assert response.status_code == 200, response.content
    told = response.json()
    assert (told["default"]["text"], told["steered"]["text"]) == (" day fox", " day One")
    assert told["steered"]["kl"] == [0, 0.75]
    assert (
        told["features"][0] | {"steered": [1.0, 2.0], "maximum": 2.0, "unit": "maximum"}
        == told["features"][0]
    )
    assert client.get(told["url"]).status_code == 200
    monkeypatch.setattr(steering_runs, "wait", lambda pk, patience: True)
    assert client.post("/api/v1/steer/", BODY, content_type="application/json").json() == told


@pytest.mark.parametrize(
    ("changes", "status", "field"),
    [
        ({"features": []}, 400, "features"),
        ({"features": [{"sae": "2-res", "index": 0, "strength": 1e9}]}, 400, "features"),
        ({"features": [{"sae": "2-res", "index": 0}] * 2}, 400, "features"),
        ({"prompt": ""}, 400, "prompt"),
        ({"tempo": 3}, 400, "tempo"),
        ({"length": 1000}, 400, "length"),
        ({"strengths": [1, 2, 3, 4, 5, 6, 7, 8, 9]}, 400, "strengths"),
    ],
)
def test_the_api_refuses_by_field(client, changes, status, field):
    response = client.post("/api/v1/steer/", BODY | changes, content_type="application/json")
    assert response.status_code == status
    assert field in "".join(response.json()["error"]["fields"])
    assert not SteeringRun.objects.exists()


@pytest.mark.parametrize(
    ("field", "message"),
    [("length", "So at most 3 new."), ("mode", "The chat template says: no system turn.")],
)
def test_the_api_tells_why_a_run_failed(client, monkeypatch, field, message):
    def broken(pk, patience):
        steering_execution.fail(steering_execution.claim_next("w"), field, message)
        return True

    monkeypatch.setattr(steering_runs, "wait", broken)
    response = client.post("/api/v1/steer/", BODY, content_type="application/json")
    assert (response.status_code, response.json()["error"]["fields"]) == (
        400,
        {field: [message]},
    )
    monkeypatch.setattr(steering_runs, "wait", lambda pk, patience: False)
    other = client.post("/api/v1/steer/", BODY | {"seed": 3}, content_type="application/json")
    assert (other.status_code, other.json()["error"]["code"]) == (503, "unanswered")


@pytest.fixture
async def listening():
    """The process's LISTEN connection ends with the test, whose event loop it belongs to."""
    yield
    if notifications._listener is not None:
        notifications._listener.cancel()
        await asyncio.gather(notifications._listener, return_exceptions=True)
    await sync_to_async(connections.close_all)()


@pytest.mark.django_db(transaction=True)
async def test_the_stream_tells_deltas_only_and_goes_on_where_it_was_left(
    async_client, client, listening
):
    run = await sync_to_async(run_of)(client)
    await sync_to_async(worked)(run)

    async def events(after):
        response = await async_client.get(
            f"/steer/{run.pk}/events/", headers={"Last-Event-ID": after}
        )
        assert response["Content-Type"] == "text/event-stream"
        body = "".join([part.decode() async for part in response.streaming_content])
        return [
            dict(line.split(": ", 1) for line in event.split("\n") if line)
            for event in body.strip().split("\n\n")
        ]

    whole = await events("0")
    assert [event["event"] for event in whole] == ["delta", "delta", "over"]
    assert [event.get("id") for event in whole] == ["1", "2", None]
    pieces = json.loads(whole[1]["data"])
    assert pieces[0]["ids"] == [FOX, 257]
    assert [bytes.fromhex(token) for token in pieces[0]["bytes"]] == [b" fox", b" One"]
    rest = await events("1")
    assert rest == whole[1:]
    assert (await async_client.get("/steer/4242/events/")).status_code == 404


@pytest.mark.django_db(transaction=True)
async def test_a_stream_that_is_left_lets_the_run_go(async_client, client, listening):
    run = await sync_to_async(run_of)(client)
    stream = sse.steering_events(run.pk, run.model_id, 0)
    assert await anext(stream) == ": still here\n\n"
    before = await SteeringRun.objects.values_list("watched_until", flat=True).aget(pk=run.pk)
    await stream.aclose()
    after = await SteeringRun.objects.values_list("watched_until", flat=True).aget(pk=run.pk)
    assert (before - after).total_seconds() > 20


@pytest.mark.django_db(transaction=True)
async def test_the_api_streams_the_same_events(async_client, client, listening):
    run = await sync_to_async(run_of)(client)
    await sync_to_async(worked)(run)
    response = await async_client.post(
        "/api/v1/steer/", BODY | {"stream": True}, content_type="application/json"
    )
    body = "".join([part.decode() async for part in response.streaming_content])
    assert body.startswith(f'event: run\ndata: {{"id": {run.pk}, "url": "/steer/{run.pk}/"}}')
    assert body.count("event: delta") == 2
    assert '"state": "finished"' in body


@pytest.mark.parametrize("asked", [{"q": "\0"}, {"feature": "a\0/1"}, {"model": "\0"}])
def test_what_postgresql_refuses_is_found_nowhere(client, asked):
    assert client.get("/steer/", {"model": "tiny", **asked}).status_code in (200, 404, 422)
