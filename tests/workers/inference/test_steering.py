"""A run on a worker: its texts are the pipeline's, and whatever goes wrong is told and leaves the
worker free.
"""

import time
from datetime import timedelta

import pytest
import torch
from django.utils import timezone

from features.models import SteeringDelta, SteeringRun
from features.queue import messages
from features.records import WorkerState
from features.services import workers as worker_services
from features.steering import execution as steering_execution
from features.steering import run_views
from features.steering import runs as steering_runs
from features.steering.forms import SteerForm
from tests import builders
from tests.workers import planted_sae, steering_model
from workers.inference import steering as steering_worker
from workers.pipeline.steering.interventions import FeatureIntervention
from workers.pipeline.steering.text_activations import Lens

pytestmark = pytest.mark.django_db(transaction=True)
FEATURE = {"sae": "2-res", "index": 0, "strength": 2}


@pytest.fixture(autouse=True)
def weights(monkeypatch, llama):
    """An instance whose model and SAE are the planted ones; no broker."""
    worker_services.here("a:1", ["inference"], WorkerState("cpu", "0", 1, 1, 1, None, None))
    builders.planted()
    made = planted_sae.sae("standard", features=8)
    monkeypatch.setattr(messages.current_app, "send_task", lambda *args, **kwargs: None)
    monkeypatch.setattr(steering_worker.model_cache, "load_model", lambda row: llama)
    monkeypatch.setattr(steering_worker.model_cache, "load_sae", lambda row: made)
    return made


def asked(prompt="def cat(self)", who="ada", **changes):
    given = {
        "model": "tiny",
        "prompt": prompt,
        "features": [FEATURE],
        "temperature": 0,
        "length": 10,
    }
    return steering_runs.request_run(SteerForm.checked(given | changes), who)


def done(run):
    steering_worker.run_next()
    run.refresh_from_db()
    return run


def test_the_text_is_the_one_of_a_plain_hook_and_every_number_is_there(llama, weights):
    run = done(asked())
    assert (run.state, run.error) == ("finished", None)
    view = run_views.view(run.pk)
    intervention = FeatureIntervention(
        Lens(weights, "blocks.2.hook_resid_post", True), 0, "add", 2.0, "maximum", 2.0
    )
    prompt = [0, *llama.tokenizer("def cat(self)", add_special_tokens=False)["input_ids"]]
    assert view.result.prompt == prompt
    assert (
        view.result.texts[1].token_ids
        == steering_model.greedy(llama, intervention, prompt, length=10)[0]
    )
    for text in view.result.texts:
        assert (
            len(
                {
                    len(text.token_ids),
                    len(text.logprobs),
                    len(text.kl),
                    len(text.activations[0]),
                    len(text.mass[0]),
                }
            )
            == 1
        )
    assert sum(view.result.texts[0].kl) == 0
    assert len(view.result.prompt_activations[0]) == len(prompt)


def test_the_same_run_of_another_worker_gives_the_same_rows():
    run = done(asked(temperature=1.0, length=20))
    first = [
        piece
        for data in SteeringDelta.objects.filter(run=run).values_list("data", flat=True)
        for piece in data
    ]
    SteeringRun.objects.all().delete()
    other = done(asked(temperature=1.0, length=20))
    again = [
        piece
        for data in SteeringDelta.objects.filter(run=other).values_list("data", flat=True)
        for piece in data
    ]
    assert [p for p in first if "ids" in p] == [p for p in again if "ids" in p]


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"mode": "chat"}, "mode", "no chat template"),
        ({"prompt": "cat " * 100}, "prompt", "the model reads at most 63"),
        ({"length": 60}, "length", "so at most"),
        ({"where": "chosen", "tokens": "40"}, "tokens", "choose among those"),
        ({"where": "chosen", "tokens": "0"}, "where", "No position would be steered"),
        ({"where": "generated", "length": 1}, "where", "No position would be steered"),
    ],
)
def test_what_only_the_model_can_refuse_is_told_at_its_field(changes, field, words):
    run = done(asked(**changes))
    assert (run.state, run.error["field"], run.error["passing"]) == ("failed", field, False)
    assert words in run.error["message"]
    assert not SteeringDelta.objects.filter(run=run).exists(), "no text is shown as steered"
    assert done(asked()).state == "finished", "the worker lives on"


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_out_of_memory_is_told_and_the_next_run_is_run(monkeypatch, error):
    def broken(*args):
        raise error

    run = asked()
    with monkeypatch.context() as patched:
        patched.setattr(steering_worker, "decode", broken)
        done(run)
    assert (run.state, run.error["passing"]) == ("failed", True)
    assert "ran out of memory" in run.error["message"]
    again = asked()
    assert (again.pk, done(again).state) == (run.pk, "finished")


def test_what_we_did_not_think_of_is_told_without_its_text(monkeypatch):
    def broken(*args):
        raise RuntimeError("/secret/path")

    run = asked()
    monkeypatch.setattr(steering_worker, "decode", broken)
    done(run)
    assert (
        run.state,
        "RuntimeError" in run.error["message"],
        "secret" in run.error["message"],
    ) == (
        "failed",
        True,
        False,
    )


def test_weights_that_changed_are_not_steered_with(monkeypatch):
    run = asked()
    run.model.saes.update(sha256="f" * 64)
    done(run)
    assert (run.state, run.error["field"]) == ("failed", "features")


def test_it_stops_at_the_next_token_where_somebody_asks(monkeypatch):
    monkeypatch.setattr(steering_worker, "HEARTBEAT_SECONDS", 0.01)
    monkeypatch.setattr(steering_worker, "WRITE_SECONDS", 0.0)
    run, real, times = asked(length=40), steering_execution.write, []

    def slowly(*args):
        real(*args)
        times.append(1)
        if len(times) == 4:
            steering_runs.stop(run.pk)
            time.sleep(0.1)

    monkeypatch.setattr(steering_execution, "write", slowly)
    done(run)
    assert (run.state, run.error["message"]) == ("stopped", "Stopped.")
    assert 0 < len(run_views.view(run.pk).result.texts[1].token_ids) < 20


def test_a_run_that_nobody_watches_is_not_even_begun():
    run = asked()
    SteeringRun.objects.update(watched_until=timezone.now() - timedelta(seconds=1))
    assert done(run).state == "stopped"
