"""Each kind of job, from its row to the rows it leaves: a tiny model and corpus through the whole
chain.
"""

import json
import shutil

import pytest

from features.models import (
    Corpus,
    Dashboard,
    Example,
    Feature,
    Job,
    JobEvent,
    LanguageModel,
    Sae,
    Sequence,
    Token,
)
from features.records import InvalidParams
from features.selectors.features import feature
from features.services import jobs as job_services
from workers import model_cache
from workers.jobs import registry as job_registry
from workers.jobs import runner
from workers.lifecycle.work import RunningJob

pytestmark = pytest.mark.django_db(transaction=True)
HOOK = "blocks.1.hook_resid_post"


@pytest.fixture(autouse=True)
def _places(settings, tmp_path):
    settings.VAR, settings.ARTIFACTS_URL = tmp_path / "var", str(tmp_path / "artifacts")
    model_cache.clear()


@pytest.fixture
def corpus_file(tmp_path, texts):
    """The 30 texts twenty times over, each time with other numbers, so that a twentieth can be held
    out.
    """
    place = tmp_path / "texts.jsonl"
    rows = [{"text": f"{text}\n# {round_} {name}"} for round_ in range(20) for name, text in texts]
    place.write_text("\n".join(map(json.dumps, rows)))
    return place


def done(job: Job) -> Job:
    runner.run(job.pk)
    return Job.objects.get(pk=job.pk)


@pytest.fixture
def ready(model_folders, corpus_file):
    done(job_services.start("add_model", {"slug": "tiny", "source": str(model_folders["llama"])}))
    done(job_services.start("add_corpus", {"slug": "texts", "source": str(corpus_file)}))


def train(**changes) -> Job:
    settings = {
        "model": "tiny",
        "slug": "s",
        "corpus": "texts",
        "hook": HOOK,
        "width": 64,
        "k": 4,
        "tokens": 20_000,
    }
    return job_services.start(
        "train_sae", {**settings, "context_size": 32, "then": False, **changes}
    )


def test_add_model_keeps_shape_hooks_and_the_exact_bytes_of_its_vocabulary(ready, tokenizer):
    model = LanguageModel.objects.get()
    assert (model.slug, model.layers, model.d_model, model.vocabulary_size) == ("tiny", 3, 32, 400)
    assert HOOK in model.hooks
    assert model.hook_refusals == {}
    assert model.revision.startswith("sha256:")
    tokens = {t.token_id: bytes(t.text) for t in Token.objects.all()}
    ids = tokenizer("naïve 日本 🧠", add_special_tokens=False)["input_ids"]
    assert b"".join(tokens[i] for i in ids).decode() == "naïve 日本 🧠"
    assert list(Token.objects.filter(special=True).values_list("token_id", flat=True)) == [0]


@pytest.mark.parametrize("source", ["/no/such/folder", "a/b/c"])
def test_a_model_that_is_not_there_leaves_no_rows_and_names_its_field(source):
    job = done(job_services.start("add_model", {"slug": "gone", "source": source}))
    assert (job.state, job.error_field) == ("failed", "source")
    assert not LanguageModel.objects.exists()
    assert not Token.objects.exists()


def test_a_folder_without_a_tokenizer_is_refused(model_folders, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(
        model_folders["llama"], bare, ignore=shutil.ignore_patterns("token*", "special*")
    )
    job = done(job_services.start("add_model", {"slug": "bare", "source": str(bare)}))
    assert (job.state, job.error_field) == ("failed", "source")
    assert "tokenizer" in job.error


def test_a_corpus_that_is_not_there_leaves_no_row():
    job = done(job_services.start("add_corpus", {"slug": "gone", "source": "/no/texts.jsonl"}))
    assert (job.state, job.error_field) == ("failed", "source")
    assert not Corpus.objects.exists()


def test_the_chain_ends_in_a_feature_page_with_real_examples(ready):
    job = train(then=True)
    chain = [job, *Job.objects.filter(pk__gt=job.pk).order_by("pk")]
    assert [j.kind for j in chain] == [
        "train_sae",
        "compute_dashboards",
        "map_sae",
        "evaluate_sae",
        "label_sae",
    ]
    assert [done(j).state for j in chain] == ["finished"] * 5, Job.objects.exclude(
        error=""
    ).values_list("error")
    sae = Sae.objects.get()
    assert (sae.width, sae.d_in, sae.hook, sae.made_by) == (64, 32, HOOK, job)
    assert sae.evaluation["values"]["l0"] == pytest.approx(4, abs=0.5)
    shown = Dashboard.objects.get(sae=sae)
    assert (
        shown.alive
        == Feature.objects.filter(fires__gt=0).count()
        == sum(shown.density_histogram)
        > 0
    )
    best = Feature.objects.order_by("-fires").first()
    view = feature("tiny", "s", best.index)
    top = view.bands[0].examples[0]
    assert top.value == pytest.approx(best.max_activation, abs=1e-4)
    assert sum(best.histogram) == best.fires
    assert any(span.peak and span.value == top.value for span in top.tokens)


def test_dashboards_made_twice_give_the_same_rows_and_keep_the_features(ready):
    done(train())
    rows = []
    for _ in range(2):
        job = job_services.start(
            "compute_dashboards", {"sae": "tiny/s", "corpus": "texts", "tokens": 5000}
        )
        assert done(job).state == "finished"
        features = list(
            Feature.objects.order_by("index").values_list("id", "index", "fires", "max_activation")
        )
        examples = list(
            Example.objects.order_by("feature", "band", "rank").values_list(
                "feature", "peak", "values"
            )
        )
        rows.append((features, examples, Sequence.objects.count()))
    assert rows[0] == rows[1]


def test_training_that_is_interrupted_resumes_from_its_checkpoint(ready, monkeypatch):
    job = train(tokens=60_000)
    seen = []

    def stop_after_a_checkpoint(self):
        seen.append(1)
        return bool(self.row.checkpoint) and self.row.attempts == 1

    monkeypatch.setattr(RunningJob, "should_stop", stop_after_a_checkpoint)
    stopped = done(job)
    assert (stopped.state, bool(stopped.checkpoint)) == ("queued", True)
    Job.objects.filter(pk=job.pk).update(attempts=1)  # as if its worker had died rather than left
    assert done(job).state == "finished"
    said = " ".join(
        JobEvent.objects.filter(job=job, kind="log")
        .order_by("id")
        .values_list("data__text", flat=True)
    )
    assert "Resuming from" in said
    steps = list(
        JobEvent.objects.filter(job=job, kind="metrics")
        .order_by("id")
        .values_list("data__step", flat=True)
    )
    assert steps == sorted(set(steps))


def test_a_corpus_that_changed_since_it_was_added_is_refused(ready, corpus_file):
    with corpus_file.open("a") as file:
        file.write("\n" + json.dumps({"text": "more"}))
    job = done(train())
    assert (job.state, job.error_field) == ("failed", "corpus")
    assert "add it again" in job.error
    assert not Sae.objects.exists()


def test_dashboards_are_made_by_one_job_at_a_time(ready):
    done(train())
    job_services.start("compute_dashboards", {"sae": "tiny/s", "corpus": "texts", "tokens": 5000})
    with pytest.raises(InvalidParams, match="already"):
        job_services.start(
            "compute_dashboards", {"sae": "tiny/s", "corpus": "texts", "tokens": 5000}
        )


def test_a_corpus_that_went_away_fails_the_job_at_its_own_field(ready, corpus_file):
    corpus_file.unlink()
    job = done(train())
    assert (job.state, job.error_field) == ("failed", "corpus")


def test_a_model_that_went_away_fails_the_job_at_its_own_field(ready):
    LanguageModel.objects.update(source="/nowhere/at/all/llama")
    job = done(train())
    assert (job.state, job.error_field) == ("failed", "model")
    assert job.error.startswith("There is no folder llama.")


def test_a_request_to_cancel_keeps_a_model_from_being_added(model_folders, monkeypatch):
    job = job_services.start(
        "add_model", {"slug": "unwanted", "source": str(model_folders["llama"])}
    )
    monkeypatch.setattr(RunningJob, "should_stop", lambda self: True)
    assert done(job).state == "queued"
    assert not LanguageModel.objects.exists()


def test_a_promise_that_was_not_kept_fails_by_field(ready):
    job = job_services.start(
        "evaluate_sae", {"sae": "tiny/none", "corpus": "texts"}, promised={"tiny/none"}
    )
    assert (done(job).state, done(job).error_field) == ("failed", "sae")


def test_every_kind_that_can_be_started_can_be_run():
    from features.jobs.forms import ALL_FORMS

    assert set(job_registry.RUNNERS) == set(ALL_FORMS)
