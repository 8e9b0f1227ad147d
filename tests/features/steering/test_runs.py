"""The life of a steering run: shared, fair, limited, watched, and begun anew where its
worker died.
"""

from datetime import timedelta

import pytest
from django.utils import timezone

from features.inference.requests import NoAnswer
from features.models import SteeringDelta, SteeringRequest, SteeringRun, Worker
from features.queue import messages
from features.queue.claims import LostLease
from features.records import InvalidParams, WorkerState
from features.services import workers as worker_services
from features.steering import execution as steering_execution
from features.steering import run_views
from features.steering import runs as steering_runs
from features.steering.forms import SteerForm
from tests import builders

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def tiny():
    worker_services.here("a:1", ["inference"], WorkerState("cpu", "0", 1, 1, 1, None, None))
    return builders.planted()


@pytest.fixture(autouse=True)
def sent(monkeypatch, django_capture_on_commit_callbacks):
    """The messages that went out."""
    sent_tasks = []
    monkeypatch.setattr(
        messages.current_app, "send_task", lambda *args, **kwargs: sent_tasks.append(args)
    )
    return sent_tasks


FEATURE = {"sae": "2-res", "index": 0, "strength": 2}


def asked(prompt="One day", **changes) -> SteerForm:
    return SteerForm.checked({"model": "tiny", "prompt": prompt, "features": [FEATURE], **changes})


def test_what_is_asked_is_kept_with_everything_that_the_text_follows_from():
    run = steering_runs.request_run(asked(), "ada")
    feature = run.params["features"][0]
    assert (run.state, feature["maximum"], feature["tokens"][:2]) == (
        "queued",
        2.0,
        [257, 258],
    )
    assert feature["sha256"] == "9ab3" * 16
    assert run.params["revision"] == "2f1c0ffee2f1c0ffee"
    assert run.params["temperature"] == 0.5, "what is left out has its default"


def test_equal_requests_share_a_run_whoever_asks():
    first = steering_runs.request_run(asked(), "ada")
    assert steering_runs.request_run(asked(length=48), "ben").pk == first.pk, "48 is the default"
    assert steering_runs.request_run(asked(seed=3), "ben").pk != first.pk
    assert set(SteeringRequest.objects.filter(run=first).values_list("who", flat=True)) == {
        "ada",
        "ben",
    }
    took = steering_execution.claim_next("w")
    steering_execution.write(took, [{"ids": [1, 2], "logprobs": [0, 0]}])
    steering_execution.finish(took)
    assert steering_runs.request_run(asked(), "cam").state == "finished"
    assert SteeringDelta.objects.filter(run=first).count() == 1


def test_turns_go_round_between_people():
    for n in range(3):
        steering_runs.request_run(asked(seed=n), "ada")
    steering_runs.request_run(asked(seed=10), "ben")
    steering_runs.request_run(asked(seed=20), "cam")
    order = []
    while run := steering_execution.claim_next("w"):
        order.append(run.requested_by)
        steering_execution.finish(run)
    assert order == ["ada", "ben", "cam", "ada", "ada"]


def test_one_person_has_so_many_at_once_and_no_more():
    for n in range(steering_runs.MAX_AT_ONCE):
        run = steering_runs.request_run(asked(seed=n), "ada")
    with pytest.raises(steering_runs.TooManyRuns, match="stop it"):
        steering_runs.request_run(asked(seed=99), "ada")
    assert steering_runs.request_run(asked(seed=0), "ada").state == "queued", (
        "what is under way already takes no new place"
    )
    assert steering_runs.request_run(asked(seed=99), "ben")
    steering_runs.stop(run.pk)
    assert steering_runs.request_run(asked(seed=98), "ada")


def test_without_a_worker_nothing_is_written():
    Worker.objects.all().delete()
    with pytest.raises(NoAnswer, match="steering is not available"):
        steering_runs.request_run(asked(), "ada")
    assert not SteeringRun.objects.exists()


def test_a_stopped_run_keeps_what_came_and_is_run_again_where_somebody_asks():
    run = steering_runs.request_run(asked(), "ada")
    took = steering_execution.claim_next("w")
    steering_execution.write(took, [{"ids": [1, 2], "logprobs": [0, 0]}])
    steering_runs.stop(run.pk)
    assert steering_execution.renew_lease(took) == "Stopped."
    steering_execution.end_stopped(took, "Stopped.")
    assert run_views.view(run.pk).result.texts[1].token_ids == [2]
    again = steering_runs.request_run(asked(), "ben")
    assert (again.pk, again.state, again.requested_by, again.stop_requested) == (
        run.pk,
        "queued",
        "ben",
        False,
    )
    assert run_views.view(run.pk).result.texts[1].token_ids == []


def test_a_refusal_stays_and_a_failure_that_may_pass_is_tried_again():
    run = steering_runs.request_run(asked(), "ada")
    steering_execution.fail(steering_execution.claim_next("w"), "length", "too long")
    assert steering_runs.request_run(asked(), "ada").state == "failed"
    other = steering_runs.request_run(asked(seed=1), "ada")
    steering_execution.fail(steering_execution.claim_next("w"), "", "out of memory", passing=True)
    assert steering_runs.request_run(asked(seed=1), "ada").state == "queued"
    run.refresh_from_db()
    other.refresh_from_db()
    assert (run.error["message"], other.error) == ("too long", None)


def test_a_run_whose_worker_died_begins_anew_and_whoever_watches_is_told():
    run = steering_runs.request_run(asked(), "ada")
    dead = steering_execution.claim_next("w")
    steering_execution.write(dead, [{"ids": [1, 2], "logprobs": [0, 0]}])
    SteeringRun.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert steering_execution.reap(["inference"]) == [run.pk]
    news = run_views.news(run.pk, after=1)
    assert (news.state, news.deltas) == ("queued", [(2, [{"again": True}])])
    alive = steering_execution.claim_next("v")
    with pytest.raises(LostLease):
        steering_execution.write(dead, [{"ids": [3, 4], "logprobs": [0, 0]}])
    with pytest.raises(LostLease):
        steering_execution.finish(dead)
    steering_execution.write(alive, [{"ids": [5, 6], "logprobs": [0, 0]}])
    steering_execution.finish(alive)
    assert run_views.view(run.pk).result.texts[1].token_ids == [6]


def test_a_run_that_kills_every_worker_is_given_up():
    run = steering_runs.request_run(asked(), "ada")
    for _ in range(steering_execution.MAX_ATTEMPTS):
        steering_execution.claim_next("w")
        SteeringRun.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
        steering_execution.reap([])
    run.refresh_from_db()
    assert run.state == "failed"
    assert "crashed 3 times" in run.error["message"]


def test_a_closed_tab_gives_the_place_away():
    waits, runs_now = (
        steering_runs.request_run(asked(seed=0), "ada"),
        steering_runs.request_run(asked(seed=1), "ben"),
    )
    took = steering_execution.claim_next("w")
    assert steering_execution.renew_lease(took) == ""
    steering_runs.unwatch(waits.pk)
    steering_runs.unwatch(runs_now.pk)
    SteeringRun.objects.update(watched_until=timezone.now() - timedelta(seconds=1))
    assert "no page was watching" in steering_execution.renew_lease(took)
    steering_execution.end_stopped(took, steering_execution.renew_lease(took))
    assert steering_execution.claim_next("w") is None
    assert set(SteeringRun.objects.values_list("state", flat=True)) == {"stopped"}


def test_a_message_that_was_lost_is_sent_again(sent, django_capture_on_commit_callbacks):
    steering_runs.request_run(asked(), "ada")
    SteeringRun.objects.update(sent=None)
    with django_capture_on_commit_callbacks(execute=True):
        steering_execution.reap(["jobs"])
    assert not sent
    with django_capture_on_commit_callbacks(execute=True):
        steering_execution.reap(["inference"])
        steering_execution.reap(["inference"])
    assert sent == [(steering_execution.TASK,)]


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"features": []}, "features", "1 to 32"),
        (
            {"features": [FEATURE | {"index": n} for n in range(200)]},
            "features",
            "these are 200",
        ),
        ({"features": [FEATURE | {"strength": 1e9}]}, "features", "from -100 to 100"),
        ({"features": [FEATURE | {"strength": float("nan")}]}, "features", "from -100 to 100"),
        ({"features": [FEATURE | {"strength": "a lot"}]}, "features", "from -100 to 100"),
        ({"features": [FEATURE, FEATURE]}, "features", "listed twice"),
        ({"features": [FEATURE | {"sae": "other"}]}, "features", "no feature other/0"),
        ({"features": [FEATURE | {"index": 800}]}, "features", "no feature 2-res/800"),
        ({"features": [FEATURE | {"index": -1}]}, "features", "name a feature"),
        ({"features": [FEATURE | {"index": 3}]}, "features", "never fired"),
        ({"features": [FEATURE | {"method": "melt"}]}, "features", "no method"),
        (
            {"features": [FEATURE | {"method": "clamp", "unit": "norm"}]},
            "features",
            "measured in",
        ),
        ({"features": [FEATURE | {"colour": 1}]}, "features", "no setting colour"),
        ({"features": "2-res/0"}, "features", "list of objects"),
        ({"model": "none"}, "model", "no model"),
        ({"prompt": ""}, "prompt", "Enter a prompt"),
        ({"prompt": "a\0b"}, "prompt", "Null characters"),
        ({"prompt": "a" * 20_001}, "prompt", "at most 20000"),
        ({"where": "chosen"}, "tokens", "Choose tokens"),
        ({"where": "chosen", "tokens": "one"}, "tokens", "Write numbers"),
        ({"length": 513}, "length", "less than or equal to 512"),
        ({"top_p": 0}, "top_p", "greater than or equal"),
        ({"temperature": float("inf")}, "temperature", "number"),
        ({"seed": -1}, "seed", "greater than or equal"),
        (
            {"strengths": [1, 2], "features": [FEATURE | {"method": "ablate"}]},
            "strengths",
            "one feature that is added",
        ),
        ({"tempo": 1}, "tempo", "no such setting"),
    ],
)
def test_what_cannot_be_is_refused_at_its_field(changes, field, words):
    with pytest.raises(InvalidParams) as refused:
        asked(**changes)
    assert words in " ".join(refused.value.errors[field])
    assert not SteeringRun.objects.exists()
