"""Training jobs: sweeps from form to pages' rows, SAEs that come to nothing, and going on after a
cancel.
"""

import json
import threading
import time

import pytest
from django.contrib.auth import get_user_model
from django.db import connection

from features import artifact_store
from features.jobs import lifecycle
from features.models import Dashboard, Job, JobEvent, Sae
from features.records import InvalidParams
from features.services import jobs as job_services
from workers import model_cache
from workers.jobs import runner
from workers.lifecycle import cleanup
from workers.lifecycle.work import RunningJob

pytestmark = pytest.mark.django_db(transaction=True)
HOOKS = ["blocks.0.hook_mlp_out", "blocks.1.hook_resid_post"]


@pytest.fixture(autouse=True)
def _places(settings, tmp_path):
    settings.VAR, settings.ARTIFACTS_URL = tmp_path / "var", str(tmp_path / "artifacts")
    model_cache.clear()


@pytest.fixture(autouse=True)
def ready(model_folders, tmp_path, texts):
    rows = [{"text": f"{text}\n# {round_} {name}"} for round_ in range(20) for name, text in texts]
    (tmp_path / "texts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    done(job_services.start("add_model", {"slug": "tiny", "source": str(model_folders["llama"])}))
    done(
        job_services.start("add_corpus", {"slug": "texts", "source": str(tmp_path / "texts.jsonl")})
    )


def done(job: Job) -> Job:
    runner.run(job.pk)
    return Job.objects.get(pk=job.pk)


def start(**changes) -> Job:
    settings = {
        "model": "tiny",
        "slug": "s",
        "corpus": "texts",
        "hook": HOOKS[1],
        "width": 32,
        "k": 4,
        "tokens": 12_000,
    }
    return job_services.start(
        "train_sae", {**settings, "context_size": 32, "then": False, **changes}
    )


def log(job: Job) -> str:
    return " ".join(
        JobEvent.objects.filter(job=job, kind="log")
        .order_by("id")
        .values_list("data__text", flat=True)
    )


def test_a_sweep_ends_in_a_row_an_evaluation_and_dashboards_for_every_sae(ready):
    job = start(hook=",".join(HOOKS), width="24, 32", then=True)
    chain = [job, *Job.objects.filter(pk__gt=job.pk).order_by("pk")]
    kinds = [j.kind for j in chain if j.kind != "map_sae"]
    assert kinds == ["train_sae", "compute_dashboards", *["evaluate_sae"] * 4, *["label_sae"] * 4]
    for one in chain:
        assert done(one).state == "finished", done(one).error
    names = {"s-0-mlp-w24", "s-0-mlp-w32", "s-1-res-w24", "s-1-res-w32"}
    made = {sae.slug: sae for sae in Sae.objects.all()}
    assert set(made) == names
    assert {slug: (sae.hook, sae.width) for slug, sae in made.items()} == {
        f"s-{short}-w{width}": (hook, width)
        for short, hook in zip(("0-mlp", "1-res"), HOOKS, strict=True)
        for width in (24, 32)
    }
    assert all(sae.evaluation and sae.made_by == job for sae in made.values())
    assert Dashboard.objects.count() == 4
    assert sorted(done(job).result["saes"]) == sorted(f"tiny/{name}" for name in names)
    series = set(
        JobEvent.objects.filter(job=job, kind="metrics").values_list("data__series", flat=True)
    )
    assert series == names
    assert not artifact_store._store()[0].exists(f"{artifact_store._store()[1]}/jobs/{job.pk}")


def test_an_sae_of_a_sweep_has_the_weights_that_it_has_alone(ready):
    done(start(k="2,4"))
    done(start(slug="alone", k=4))
    assert Sae.objects.get(slug="s-k4").sha256 == Sae.objects.get(slug="alone").sha256
    assert Sae.objects.get(slug="s-k2").sha256 != Sae.objects.get(slug="alone").sha256


def test_what_follows_goes_on_without_an_sae_that_came_to_nothing(ready, monkeypatch):
    from workers.pipeline.training import sae_trainer

    step = sae_trainer.SaeTrainer.step

    def poisoned(self, batch):
        return step(self, batch * float("nan") if self.name == "s-k2" else batch)

    monkeypatch.setattr(sae_trainer.SaeTrainer, "step", poisoned)
    job = start(k="2,4", then=True)
    assert done(job).state == "finished"
    assert "s-k2 is left out of the sweep" in log(job)
    assert done(job).result == {"saes": ["tiny/s-k4"]}
    shown, lost, kept = (
        Job.objects.filter(pk__gt=job.pk).exclude(kind__in=["map_sae", "label_sae"]).order_by("pk")
    )
    assert shown.params["sae"] == "tiny/s-k4"
    assert "Left out" in log(shown)
    assert (lost.state, lost.params["sae"]) == ("cancelled", "tiny/s-k2")
    assert [done(one).state for one in (shown, kept)] == ["finished", "finished"]


def stopped_midway(monkeypatch, **changes) -> Job:
    """A job that a person cancelled after it had trained for a while."""
    job, asked = start(tokens=200_000, **changes), []

    def cancel_soon(self):
        asked.append(1)
        if len(asked) == 60:
            lifecycle.cancel(job.pk)
            self._heartbeat.stop_reason = True
        return self._heartbeat.stop_reason

    with monkeypatch.context() as patch:
        patch.setattr(RunningJob, "should_stop", cancel_soon)
        return done(job)


@pytest.mark.parametrize("changes", [{}, {"k": "2,4"}])
def test_a_cancelled_job_keeps_its_checkpoint_and_another_goes_on_from_it(monkeypatch, changes):
    ada = get_user_model().objects.create_user("ada", is_staff=True)
    old = stopped_midway(monkeypatch, **changes)
    assert old.state == "cancelled"
    assert old.checkpoint.startswith(f"jobs/{old.pk}/checkpoints/")
    cleanup.clear()
    assert job_services.may_resume(Job.objects.get(pk=old.pk))
    new = job_services.resume(old.pk, by=ada)
    assert not job_services.may_resume(Job.objects.get(pk=old.pk))
    with pytest.raises(InvalidParams, match="another job continued from it"):
        job_services.resume(old.pk, by=ada)
    assert f"Goes on from job {old.pk}, which was cancelled after" in log(new)
    assert "by ada" in log(new)
    assert f"Job {new.pk} resumes from here, by ada." in log(old)
    finished = done(new)
    assert finished.state == "finished", finished.error
    steps = (
        JobEvent.objects.filter(job=new, kind="metrics")
        .order_by("id")
        .values_list("data__step", flat=True)
    )
    assert steps[0] > int(old.checkpoint.rpartition("/")[2])
    reference = done(start(slug="t", tokens=200_000, **changes))
    theirs = [sae.sha256 for sae in Sae.objects.filter(made_by=reference).order_by("id")]
    assert [sae.sha256 for sae in Sae.objects.filter(made_by=new).order_by("id")] == theirs
    assert not Job.objects.get(pk=old.pk).checkpoint


def test_a_checkpoint_that_is_gone_is_said_and_not_offered_again(monkeypatch):
    old = stopped_midway(monkeypatch)
    artifact_store.remove(f"jobs/{old.pk}")
    new = done(job_services.resume(old.pk))
    assert new.state == "failed"
    assert "checkpoint is gone" in new.error
    assert not any(job_services.may_resume(Job.objects.get(pk=pk)) for pk in (old.pk, new.pk))


def test_a_job_that_is_not_over_or_has_no_checkpoint_cannot_be_resumed(ready):
    job = start()
    with pytest.raises(InvalidParams, match="not over"):
        job_services.resume(job.pk)
    lifecycle.cancel(job.pk)
    with pytest.raises(InvalidParams, match="no checkpoint"):
        job_services.resume(job.pk)


def test_a_request_to_cancel_is_obeyed_within_seconds(ready):
    """The heart hears of it every two seconds, the loop at every step."""
    job = start(tokens=10**8)
    asked = []

    def cancel():
        while not JobEvent.objects.filter(job=job, kind="metrics").exists():
            time.sleep(0.05)
        asked.append(time.monotonic())
        lifecycle.cancel(job.pk)

    def and_close():
        try:
            cancel()
        finally:
            connection.close()

    thread = threading.Thread(target=and_close)
    thread.start()
    over = done(job)
    thread.join()
    assert over.state == "cancelled"
    assert time.monotonic() - asked[0] < 6
    assert over.checkpoint
