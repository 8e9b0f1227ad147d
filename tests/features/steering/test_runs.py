"""The life of a steering run: shared, fair, limited, watched, and begun anew where its worker died."""

from datetime import timedelta

import pytest
from django.utils import timezone

from features.inference.requests import NoAnswer
from features.jobs.forms import InvalidParams
from features.models import SteeringAsk, SteeringDelta, SteeringRun, Worker
from features.records import WorkerState
from features.selectors import steering as reading
from features.services import workers as telling
from features.steering import runs
from features.steering.forms import SteerForm, checked
from tests import builders

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def tiny():
    telling.here("a:1", ["inference"], WorkerState("cpu", "0", 1, 1, 1, None, None))
    return builders.planted()


@pytest.fixture(autouse=True)
def sent(monkeypatch, django_capture_on_commit_callbacks):
    """The messages that went out."""
    messages = []
    monkeypatch.setattr(runs.current_app, "send_task", lambda *args, **kwargs: messages.append(args))
    return messages


KNOB = {"sae": "2-res", "index": 0, "strength": 2}


def asked(prompt="One day", **changes) -> SteerForm:
    return checked({"model": "tiny", "prompt": prompt, "features": [KNOB], **changes})


def test_what_is_asked_is_kept_with_everything_that_the_text_follows_from():
    run = runs.ask(asked(), "ada")
    knob = run.params["features"][0]
    assert (run.state, knob["maximum"], knob["tokens"][:2]) == ("queued", 2.0, [257, 258])
    assert knob["sha256"] == "9ab3" * 16
    assert run.params["revision"] == "2f1c0ffee2f1c0ffee"
    assert run.params["temperature"] == 0.5, "what is left out has its default"


def test_equal_requests_share_a_run_whoever_asks():
    first = runs.ask(asked(), "ada")
    assert runs.ask(asked(length=48), "ben").pk == first.pk, "48 is the default"
    assert runs.ask(asked(seed=3), "ben").pk != first.pk
    assert set(SteeringAsk.objects.filter(run=first).values_list("who", flat=True)) == {"ada", "ben"}
    took = runs.take("w")
    runs.write(took, [{"ids": [1, 2], "logprobs": [0, 0]}])
    runs.finish(took)
    assert runs.ask(asked(), "cam").state == "finished"
    assert SteeringDelta.objects.filter(run=first).count() == 1


def test_turns_go_round_between_people():
    for n in range(3):
        runs.ask(asked(seed=n), "ada")
    runs.ask(asked(seed=10), "ben")
    runs.ask(asked(seed=20), "cam")
    order = []
    while run := runs.take("w"):
        order.append(run.asked_by)
        runs.finish(run)
    assert order == ["ada", "ben", "cam", "ada", "ada"]


def test_one_person_has_so_many_at_once_and_no_more():
    for n in range(runs.MOST_AT_ONCE):
        run = runs.ask(asked(seed=n), "ada")
    with pytest.raises(runs.TooMany, match="stop it"):
        runs.ask(asked(seed=99), "ada")
    assert runs.ask(asked(seed=0), "ada").state == "queued", "what is under way already takes no new place"
    assert runs.ask(asked(seed=99), "ben")
    runs.stop(run.pk)
    assert runs.ask(asked(seed=98), "ada")


def test_without_a_worker_nothing_is_written():
    Worker.objects.all().delete()
    with pytest.raises(NoAnswer, match="nobody can steer"):
        runs.ask(asked(), "ada")
    assert not SteeringRun.objects.exists()


def test_a_stopped_run_keeps_what_came_and_is_run_again_where_somebody_asks():
    run = runs.ask(asked(), "ada")
    took = runs.take("w")
    runs.write(took, [{"ids": [1, 2], "logprobs": [0, 0]}])
    runs.stop(run.pk)
    assert runs.beat(took) == "Stopped."
    runs.stopped(took, "Stopped.")
    assert reading.view(run.pk).result.texts[1].token_ids == [2]
    again = runs.ask(asked(), "ben")
    assert (again.pk, again.state, again.asked_by, again.stop_requested) == (run.pk, "queued", "ben", False)
    assert reading.view(run.pk).result.texts[1].token_ids == []


def test_a_refusal_stays_and_a_failure_that_may_pass_is_tried_again():
    run = runs.ask(asked(), "ada")
    runs.fail(runs.take("w"), "length", "too long")
    assert runs.ask(asked(), "ada").state == "failed"
    other = runs.ask(asked(seed=1), "ada")
    runs.fail(runs.take("w"), "", "out of memory", passing=True)
    assert runs.ask(asked(seed=1), "ada").state == "queued"
    run.refresh_from_db()
    other.refresh_from_db()
    assert (run.error["message"], other.error) == ("too long", None)


def test_a_run_whose_worker_died_begins_anew_and_whoever_watches_is_told():
    run = runs.ask(asked(), "ada")
    dead = runs.take("w")
    runs.write(dead, [{"ids": [1, 2], "logprobs": [0, 0]}])
    SteeringRun.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert runs.reap(["inference"]) == [run.pk]
    news = reading.news(run.pk, after=1)
    assert (news.state, news.deltas) == ("queued", [(2, [{"again": True}])])
    alive = runs.take("v")
    with pytest.raises(runs.LostRun):
        runs.write(dead, [{"ids": [3, 4], "logprobs": [0, 0]}])
    with pytest.raises(runs.LostRun):
        runs.finish(dead)
    runs.write(alive, [{"ids": [5, 6], "logprobs": [0, 0]}])
    runs.finish(alive)
    assert reading.view(run.pk).result.texts[1].token_ids == [6]


def test_a_run_that_kills_every_worker_is_given_up():
    run = runs.ask(asked(), "ada")
    for _ in range(runs.MOST_ATTEMPTS):
        runs.take("w")
        SteeringRun.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
        runs.reap([])
    run.refresh_from_db()
    assert run.state == "failed"
    assert "died 3 times" in run.error["message"]


def test_a_closed_tab_gives_the_place_away():
    waits, runs_now = runs.ask(asked(seed=0), "ada"), runs.ask(asked(seed=1), "ben")
    took = runs.take("w")
    assert runs.beat(took) == ""
    runs.leave(waits.pk)
    runs.leave(runs_now.pk)
    SteeringRun.objects.update(watched_until=timezone.now() - timedelta(seconds=1))
    assert "Nobody watched" in runs.beat(took)
    runs.stopped(took, runs.beat(took))
    assert runs.take("w") is None
    assert set(SteeringRun.objects.values_list("state", flat=True)) == {"stopped"}


def test_a_message_that_was_lost_is_sent_again(sent, django_capture_on_commit_callbacks):
    runs.ask(asked(), "ada")
    SteeringRun.objects.update(sent=None)
    with django_capture_on_commit_callbacks(execute=True):
        runs.reap(["jobs"])
    assert not sent
    with django_capture_on_commit_callbacks(execute=True):
        runs.reap(["inference"])
        runs.reap(["inference"])
    assert sent == [(runs.TASK,)]


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"features": []}, "features", "1 to 32"),
        ({"features": [KNOB | {"index": n} for n in range(200)]}, "features", "these are 200"),
        ({"features": [KNOB | {"strength": 1e9}]}, "features", "from -100 to 100"),
        ({"features": [KNOB | {"strength": float("nan")}]}, "features", "from -100 to 100"),
        ({"features": [KNOB | {"strength": "a lot"}]}, "features", "from -100 to 100"),
        ({"features": [KNOB, KNOB]}, "features", "there twice"),
        ({"features": [KNOB | {"sae": "other"}]}, "features", "no feature other/0"),
        ({"features": [KNOB | {"index": 800}]}, "features", "no feature 2-res/800"),
        ({"features": [KNOB | {"index": -1}]}, "features", "name a feature"),
        ({"features": [KNOB | {"index": 3}]}, "features", "never fired"),
        ({"features": [KNOB | {"method": "melt"}]}, "features", "no method"),
        ({"features": [KNOB | {"method": "clamp", "unit": "norm"}]}, "features", "measured in"),
        ({"features": [KNOB | {"colour": 1}]}, "features", "no setting colour"),
        ({"features": "2-res/0"}, "features", "list of objects"),
        ({"model": "none"}, "model", "no model"),
        ({"prompt": ""}, "prompt", "Write a prompt"),
        ({"prompt": "a\0b"}, "prompt", "Null characters"),
        ({"prompt": "a" * 20_001}, "prompt", "at most 20000"),
        ({"where": "chosen"}, "tokens", "Choose tokens"),
        ({"where": "chosen", "tokens": "one"}, "tokens", "Write numbers"),
        ({"length": 513}, "length", "less than or equal to 512"),
        ({"top_p": 0}, "top_p", "greater than or equal"),
        ({"temperature": float("inf")}, "temperature", "number"),
        ({"seed": -1}, "seed", "greater than or equal"),
        ({"strengths": [1, 2], "features": [KNOB | {"method": "ablate"}]}, "strengths", "one feature that is added"),
        ({"tempo": 1}, "tempo", "no such setting"),
    ],
)
def test_what_cannot_be_is_refused_at_its_field(changes, field, words):
    with pytest.raises(InvalidParams) as refused:
        asked(**changes)
    assert words in " ".join(refused.value.errors[field])
    assert not SteeringRun.objects.exists()
