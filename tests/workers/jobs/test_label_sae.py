"""The job that labels an SAE without a key: from dashboards to labels with scores, and what it
leaves alone.
"""

import json

import pytest

from explorer.models import User
from features.models import Feature, Job, JobEvent, Label, LabelScore, WordList
from features.records import InvalidParams
from features.services import jobs as job_services
from features.services import labels as label_services
from workers import model_cache
from workers.jobs import runner
from workers.lifecycle.heartbeat import Heartbeat
from workers.lifecycle.work import RunningJob
from workers.pipeline.concepts import word_lists

pytestmark = pytest.mark.django_db(transaction=True)
HOOK = "blocks.0.hook_resid_post"
SETTINGS = {
    "sae": "tiny/s",
    "corpus": "texts",
    "tokens": 12_000,
    "every": 1,
    "strong": 0.2,
    "minimum": 0.1,
}


@pytest.fixture(autouse=True)
def _places(settings, tmp_path):
    settings.VAR, settings.ARTIFACTS_URL = tmp_path / "var", str(tmp_path / "artifacts")
    model_cache.clear()


def done(job: Job) -> Job:
    runner.run(job.pk)
    return Job.objects.get(pk=job.pk)


def log(job: Job) -> str:
    return " ".join(
        JobEvent.objects.filter(job=job, kind="log")
        .order_by("id")
        .values_list("data__text", flat=True)
    )


@pytest.fixture
def ready(kept, settings, texts, model_folders):
    """A trained SAE of 64 features with its dashboards."""
    kept.again(
        settings.ARTIFACTS_URL, lambda: _make(kept.folder / "texts.jsonl", texts, model_folders)
    )


def _make(place, texts, model_folders):
    rows = [{"text": f"{text}\n# {round_} {name}"} for round_ in range(20) for name, text in texts]
    place.write_text("\n".join(map(json.dumps, rows)))
    done(job_services.start("add_model", {"slug": "tiny", "source": str(model_folders["llama"])}))
    done(job_services.start("add_corpus", {"slug": "texts", "source": str(place)}))
    settings = {
        "model": "tiny",
        "slug": "s",
        "corpus": "texts",
        "hook": HOOK,
        "width": 64,
        "k": 4,
        "tokens": 20_000,
    }
    done(job_services.start("train_sae", {**settings, "context_size": 32, "then": False}))
    shown = {"sae": "tiny/s", "corpus": "texts", "tokens": 10_000}
    job = job_services.start("compute_dashboards", shown, follow_ups=[])
    assert done(job).state == "finished", done(job).error


def test_a_corpus_with_nul_is_labelled_by_the_character_s_name(ready, kept):
    rows = [{"text": "\0".join(f"a{number * 7919 % 97}\0b" * 40)} for number in range(150)]
    place = kept.folder / "nul.jsonl"
    place.write_text("\n".join(map(json.dumps, rows)))
    done(job_services.start("add_corpus", {"slug": "nul", "source": str(place)}))
    job = done(job_services.start("label_sae", {**SETTINGS, "corpus": "nul", "minimum": 0.01}))
    assert (job.state, job.error) == ("finished", "")
    assert Label.objects.filter(text__contains="U+0000").exists()


def test_every_label_has_its_score_on_held_out_contexts(ready):
    job = done(job_services.start("label_sae", SETTINGS))
    assert job.state == "finished", job.error + log(job)
    alive = Feature.objects.alive().count()
    assert Label.objects.filter(method="logits").count() == alive
    found = Label.objects.filter(method="concept")
    assert 0 < found.count() <= alive
    assert job.result == {"sae": "tiny/s", "concept": found.count(), "logits": alive}
    for label in found:
        score = label.scores.get()
        assert (score.kind, score.job) == ("concept", job)
        assert 0 <= score.low <= score.high <= 1
        assert score.n >= 8
        assert label.provenance["strong"] == 0.2
        assert label.provenance["rule"]
    scores = LabelScore.objects.filter(kind="concept")
    assert (
        max(score.value for score in scores) > 0.7
    )  # a model of random weights still knows its tokens apart
    assert Feature.objects.filter(label__isnull=False).exists()


def test_run_again_it_replaces_its_own_labels_but_none_that_people_touched(ready):
    done(job_services.start("label_sae", SETTINGS))
    before = list(
        Label.objects.order_by("feature", "method").values_list("feature", "method", "text")
    )
    cam = User.objects.create_user("cam", password="far from here 12")
    voted, edited, mine = Label.objects.filter(method="concept")[:3]
    label_services.vote(voted, 1, by=cam, weight=1)
    label_services.edit(edited, "what I call it", seen=1, by=cam)
    own = label_services.propose(mine.feature, "my own words", by=cam, weight=1)
    again = done(job_services.start("label_sae", SETTINGS))
    assert again.state == "finished", again.error
    after = set(Label.objects.values_list("feature", "method", "text"))
    assert {label.pk for label in (voted, edited, own)} <= set(
        Label.objects.values_list("pk", flat=True)
    )
    assert after == {
        *before,
        (edited.feature_id, "concept", "what I call it"),
        (own.feature_id, "person", "my own words"),
    }
    assert voted.votes.count() == 1
    assert not Label.objects.filter(method="logits").exclude(job=again).exists()


def test_one_method_leaves_the_labels_of_the_other_alone(ready):
    done(job_services.start("label_sae", SETTINGS))
    kept = set(Label.objects.filter(method="concept").values_list("pk", flat=True))
    done(job_services.start("label_sae", {**SETTINGS, "concepts": False}))
    assert set(Label.objects.filter(method="concept").values_list("pk", flat=True)) == kept


def test_a_corpus_that_is_too_small_gives_no_labels_and_says_so(ready):
    job = done(job_services.start("label_sae", {**SETTINGS, "every": 1000}))
    assert (job.state, job.result["concept"]) == ("finished", 0)
    assert "each needs 8" in log(job)
    assert not Label.objects.exists()


def test_a_cancelled_job_writes_nothing(ready, monkeypatch):
    job = job_services.start("label_sae", SETTINGS)
    monkeypatch.setattr(Heartbeat, "stop_reason", "cancelled", raising=False)
    monkeypatch.setattr(RunningJob, "should_stop", lambda self: True)
    runner.run(job.pk)
    assert not Label.objects.exists()


def test_lists_that_people_give_are_concepts(ready):
    lists = "[animals]\ncat\ndog\nbird\nfish\nhorse\nmouse\n"
    job = done(job_services.start("label_sae", {**SETTINGS, "lists": lists}))
    assert job.state == "finished", job.error


def test_lists_that_are_kept_are_concepts_and_one_that_is_gone_is_told(ready):
    for slug in ("animals", "signs"):
        WordList.objects.create(slug=slug, entries=["cat", "dog"])
    job = job_services.start(
        "label_sae", {**SETTINGS, "kept_lists": "animals, signs", "lists": "[animals]\nhorse"}
    )
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(word_lists, "word_list_concepts", lambda given: found.update(given) or [])
        assert done(job).state == "finished", job.error
    assert found == {"animals": ["horse", "cat", "dog"], "signs": ["cat", "dog"]}
    late = job_services.start("label_sae", {**SETTINGS, "kept_lists": "signs"})
    WordList.objects.filter(slug="signs").delete()
    failed = done(late)
    assert (failed.state, failed.error_field) == ("failed", "kept_lists")


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("sae", {"sae": "tiny/none"}),
        ("corpus", {"corpus": "none"}),
        ("concepts", {"concepts": False, "logits": False}),
        ("kept_lists", {"kept_lists": "no-such"}),
        ("lists", {"lists": "cat"}),
        ("lists", {"lists": "[]\ncat"}),
        ("lists", {"lists": "[animals]\n# none"}),
        ("lists", {"lists": "[animals]\n" + "x" * 300}),
        ("strong", {"strong": 1}),
        ("tokens", {"tokens": 5}),
    ],
)
def test_settings_that_cannot_work_are_refused(ready, field, changes):
    with pytest.raises(InvalidParams) as refused:
        job_services.start("label_sae", {**SETTINGS, **changes})
    assert field in refused.value.errors
    assert not Job.objects.filter(kind="label_sae").exists()


def test_one_job_labels_an_sae_at_a_time(ready):
    job_services.start("label_sae", SETTINGS)
    with pytest.raises(InvalidParams, match="already"):
        job_services.start("label_sae", SETTINGS)
