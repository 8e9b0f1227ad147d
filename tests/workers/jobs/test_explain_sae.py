"""Jobs that ask a language model, against a stand-in on loopback: labels from one half of the
contexts, scores from the other.
"""

import json
import random
import re
from collections import Counter
from collections.abc import Iterator

import pytest

from features import encryption
from features.models import (
    Dashboard,
    Endpoint,
    Example,
    Exchange,
    Feature,
    Job,
    Label,
    LabelScore,
    Sae,
    Sequence,
)
from features.records import InvalidParams
from features.services import jobs as job_services
from features.services import labels as label_services
from features.services.consensus import MEMBER
from tests import builders
from tests.workers.failing_worker import die_after_three
from tests.workers.fake_endpoint import KEY, MODEL, StandIn, completion, stand_in
from workers import model_cache
from workers.jobs import runner
from workers.jobs.explainer_examples import load_examples
from workers.pipeline.autointerp import client
from workers.pipeline.autointerp.examples import STRONG_SHARE, is_held_out
from workers.pipeline.autointerp.feature_activations import activations_in_contexts
from workers.pipeline.dashboards.corpus_pass import Target

pytestmark = pytest.mark.django_db(transaction=True)


def brain(messages: list[dict[str, str]]) -> str:
    """A model that labels by the token that is marked most, and finds texts that hold the word of
    the label.
    """
    system, user = messages[0]["content"], messages[1]["content"]
    if "LABEL:" in system:
        marked = Counter(re.findall("<<(.+?)>>", user, re.DOTALL) or ["?"]).most_common(1)[0][0]
        return f"I see.\nLABEL: the text {' '.join(marked.split())[:50]}"
    texts = re.split(r"(?:^|\n\n)\d+\.\n", user)[1:]
    word = re.search(r"active on: (.*)", system)
    assert word is not None
    if word[1] == "always":
        return json.dumps([1] * len(texts))
    return json.dumps([int(word[1].removeprefix("the text ") in text) for text in texts])


@pytest.fixture(autouse=True)
def _places(settings, tmp_path, monkeypatch):
    settings.VAR, settings.ARTIFACTS_URL = tmp_path / "var", str(tmp_path / "artifacts")
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.02)
    model_cache.clear()


@pytest.fixture
def server() -> Iterator[StandIn]:
    with stand_in(brain) as running_:
        Endpoint.objects.create(
            slug="local", base_url=running_.url, model=MODEL, key=encryption.encrypt(KEY)
        )
        yield running_


@pytest.fixture
def ready(model_folders, kept, settings, texts) -> Sae:
    """A model, a corpus and an SAE of 32 features with dashboards."""
    kept.again(
        settings.ARTIFACTS_URL, lambda: _make(kept.folder / "texts.jsonl", model_folders, texts)
    )
    return Sae.objects.get()


def _make(place, model_folders, texts) -> None:
    words, draw = sorted({word for _, text in texts for word in text.split(" ")}), random.Random(0)
    rows = [{"text": " ".join(draw.choices(words, k=60))} for _ in range(300)]
    place.write_text("\n".join(map(json.dumps, rows)))
    wanted = {
        "model": "tiny",
        "slug": "a",
        "corpus": "texts",
        "hook": "blocks.1.hook_resid_post",
        "width": 32,
        "k": 2,
    }
    for kind, params in (
        ("add_model", {"slug": "tiny", "source": str(model_folders["llama"])}),
        ("add_corpus", {"slug": "texts", "source": str(place)}),
        ("train_sae", {**wanted, "tokens": 10_000, "context_size": 32, "then": False}),
        ("compute_dashboards", {"sae": "tiny/a", "corpus": "texts", "tokens": 9_000}),
    ):
        job = done(job_services.start(kind, params))
        assert job.state == "finished", job.error
    Job.objects.filter(state="waiting").delete()


def done(job: Job) -> Job:
    runner.run(job.pk)
    return Job.objects.get(pk=job.pk)


def start(kind: str, by: object = None, **params: object) -> Job:
    return job_services.start(kind, {"sae": "tiny/a", "endpoint": "local", **params}, by=by)


def test_material_is_dealt_by_context_and_silence_is_read_from_the_model(ready: Sae) -> None:
    indices = list(
        Feature.objects.filter(fires__gte=20).order_by("-fires").values_list("index", flat=True)[:8]
    )
    found = list(load_examples(ready, indices, 10, seed=0))
    assert [material.index for material in found] == indices
    sides = {s.pk: is_held_out(0, s.position) for s in Sequence.objects.all()}
    for material in found:
        examples = Example.objects.filter(feature__index=material.index)
        strongest = max(
            (e for e in examples if not sides[e.sequence_id]),
            key=lambda e: max(e.values),
            default=None,
        )
        if strongest:
            assert max(material.learn[0].values) == max(strongest.values)
        assert all(max(text.values) >= STRONG_SHARE * material.maximum for text in material.firing)
        assert all(max(text.values) == 0 for text in [*material.random, *material.hard])
        held_out_texts = {
            text.plain for text in [*material.firing, *material.random, *material.hard]
        }
        assert not held_out_texts & {text.plain for text in [*material.learn, *material.alike]}
    assert sum(len(material.random) for material in found) > 20
    assert sum(len(material.hard) for material in found) > 8


def test_what_is_read_is_what_the_dashboards_kept(ready: Sae) -> None:
    target = Target(model_cache.load_sae(ready), ready.hook)
    some = list(Example.objects.select_related("sequence", "feature").order_by("pk")[:12])
    fired = activations_in_contexts(
        model_cache.load_model(ready.model),
        target,
        [e.sequence.token_ids for e in some],
        {e.feature.index for e in some},
    )
    for example, found in zip(some, fired, strict=True):
        there = found[example.feature.index]
        assert sorted(there) == example.positions
        assert [there[at] for at in example.positions] == pytest.approx(example.values, rel=1e-4)


def test_labels_are_written_with_their_prompt_and_a_second_run_replaces_them(
    ready: Sae, server: StandIn
) -> None:
    job = done(start("explain_sae", most=6))
    assert job.state == "finished", job.error
    assert job.result["labels"] == 6
    label = Label.objects.select_related("feature").first()
    assert label is not None
    assert label.method == "explainer:examples"
    asked = Exchange.objects.get(job=job, feature=label.feature.index)
    assert label.provenance["prompt"] == asked.sha256
    assert label.text in asked.answer
    assert (job.result["prompt_tokens"], job.result["completion_tokens"]) == (600, 60)
    again = done(start("explain_sae", most=6, only_unlabelled=False))
    assert again.state == "finished", again.error
    assert Label.objects.count() == 6


def test_what_an_explainer_saw_is_never_what_a_label_is_scored_on(
    ready: Sae, server: StandIn
) -> None:
    explained = done(start("explain_sae", most=8, explainer="contrastive"))
    scored = done(
        start(
            "score_labels",
            most=8,
            method="explainer:contrastive",
            scores="detection,fuzzing",
            negatives="hard",
        )
    )
    assert scored.state == "finished", scored.error
    shown = {
        exchange.feature: plain(exchange.messages)
        for exchange in Exchange.objects.filter(job=explained)
    }
    asked = Exchange.objects.filter(job=scored)
    assert {exchange.feature for exchange in asked} <= set(shown)
    assert asked.count() > 8
    for exchange in asked:
        for text in re.split(r"(?:^|\n\n)\d+\.\n", plain(exchange.messages))[1:]:
            assert text not in shown[exchange.feature]


def plain(messages: list[dict[str, str]]) -> str:
    return messages[1]["content"].replace("<<", "").replace(">>", "")


def test_scores_have_an_interval_an_n_and_a_scorer_and_become_the_evidence(
    ready: Sae, server: StandIn
) -> None:
    done(start("explain_sae", most=8))
    job = done(
        start(
            "score_labels",
            most=8,
            scores="detection,fuzzing",
            negatives="hard",
            method="explainer:examples",
        )
    )
    assert job.state == "finished", job.error
    assert job.result["scores"] == LabelScore.objects.count() > 8
    for score in LabelScore.objects.all():
        assert 0 <= score.value <= 1
        assert score.low is not None
        assert score.low <= score.value
        assert (score.scorer, score.job) == (MODEL, job)
        assert score.n >= 2
        assert score.negatives == ("hard" if score.kind == "detection" else "")
    label = Label.objects.filter(scores__kind="detection").first()
    assert label is not None
    detection = label.scores.get(kind="detection")
    shown = detection.value if detection.f1 is None else detection.f1
    assert (label.score_kind, label.score) == ("detection", shown)


def test_a_label_is_not_scored_on_contexts_that_were_dealt_otherwise(
    ready: Sae, server: StandIn
) -> None:
    done(start("explain_sae", most=4))
    job = done(start("score_labels", method="explainer:examples", seed=1))
    assert (job.state, job.error_field) == ("failed", "seed")
    assert "was written with the seed 0" in job.error
    Dashboard.objects.update(corpus_revision="another")
    job = done(start("score_labels", method="explainer:examples"))
    assert (job.state, job.error_field) == ("failed", "method")
    assert not LabelScore.objects.exists()


def test_a_planted_label_that_is_always_true_scores_one_half(ready: Sae, server: StandIn) -> None:
    _, ben, _ = builders.cast()
    feature = Feature.objects.order_by("-fires").first()
    assert feature is not None
    label = label_services.propose(feature, "always", by=ben, weight=MEMBER)
    for negatives in ("random", "hard"):
        job = done(start("score_labels", method="person", negatives=negatives))
        assert job.state == "finished", job.error
        score = LabelScore.objects.get(label=label, negatives=negatives)
        assert score.balanced_accuracy == 0.5
        assert score.details["recall"] == 1.0


def test_a_job_that_goes_on_asks_nothing_twice(
    ready: Sae, server: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = start("explain_sae", most=6)
    die_after_three(job, monkeypatch)
    asked = {row.sha256 for row in Exchange.objects.filter(job=job)}
    assert len(asked) == 3
    before = len(server.requests)
    finished = done(job)
    assert finished.state == "finished", finished.error
    assert finished.result["labels"] == 6
    assert len(server.requests) - before <= 3
    assert finished.result["prompt_tokens"] == 600


def test_a_budget_ends_it_with_what_there_is(ready: Sae, server: StandIn) -> None:
    Endpoint.objects.update(concurrency=1)
    job = done(start("explain_sae", most=20, most_tokens=1500))
    assert job.state == "finished", job.error
    assert 0 < job.result["labels"] == Label.objects.count() < 20
    assert job.result["prompt_tokens"] + job.result["completion_tokens"] <= 1500
    assert any("budget is spent" in str(event.data) for event in job.events.all())


def test_answers_that_cannot_be_read_are_counted(ready: Sae, server: StandIn) -> None:
    server.brain = lambda messages: "I would rather not.\nReally."
    job = done(start("explain_sae", most=5))
    assert (job.state, job.result["labels"], job.result["unread"]) == ("finished", 0, 5)
    assert Exchange.objects.filter(job=job).count() == 5


def test_a_key_that_is_refused_fails_the_job_and_names_the_endpoint(
    ready: Sae, server: StandIn
) -> None:
    Endpoint.objects.update(key=encryption.encrypt("wrong"))
    job = done(start("explain_sae", most=5))
    assert (job.state, job.error_field) == ("failed", "endpoint")
    assert "The endpoint “local” refuses the key" in job.error
    assert "wrong" not in job.error
    assert "127.0.0.1" not in job.error


def test_anothers_endpoint_is_not_to_be_used(ready: Sae, server: StandIn) -> None:
    ada, ben, _ = builders.cast()
    Endpoint.objects.update(owner=ben)
    job = done(start("explain_sae", most=5, by=ada))
    assert (job.state, job.error_field) == ("failed", "endpoint")
    assert not server.requests
    assert done(start("explain_sae", most=5, by=ben)).state == "finished"


def test_a_private_address_is_refused_where_the_instance_forbids_it(
    ready: Sae, server: StandIn, settings
) -> None:
    settings.PRIVATE_ENDPOINTS = False
    job = done(start("explain_sae", most=5))
    assert (job.state, job.error_field) == ("failed", "endpoint")
    assert "has a private address" in job.error
    assert "127.0.0.1" not in job.error
    assert not server.requests


@pytest.mark.parametrize(
    ("kind", "params", "field"),
    [
        ("explain_sae", {"endpoint": ""}, "endpoint"),
        ("explain_sae", {"endpoint": "nobody"}, "endpoint"),
        ("explain_sae", {"explainer": "guess"}, "explainer"),
        ("explain_sae", {"texts": 1}, "texts"),
        ("explain_sae", {"most_tokens": 10}, "most_tokens"),
        ("score_labels", {"scores": "detection", "endpoint": ""}, "endpoint"),
        ("score_labels", {"scores": "everything"}, "scores"),
        ("score_labels", {"sae": "tiny/none"}, "sae"),
    ],
)
def test_what_cannot_be_is_refused_beside_its_field(
    kind: str, params: dict[str, object], field: str
) -> None:
    builders.planted()
    Endpoint.objects.create(slug="local", base_url="http://127.0.0.1:9/v1", model=MODEL)
    with pytest.raises(InvalidParams) as refused:
        job_services.start(kind, {"sae": "tiny/2-res", "endpoint": "local", **params})
    assert list(refused.value.errors) == [field]


def test_an_sae_without_dashboards_is_refused() -> None:
    builders.planted()
    Dashboard.objects.all().delete()
    with pytest.raises(InvalidParams, match="no dashboards yet"):
        job_services.start("score_labels", {"sae": "tiny/2-res", "scores": "embedding"})


def test_an_endpoint_that_wants_money_midway_keeps_what_came_and_nothing_is_paid_twice(
    ready: Sae, server: StandIn
) -> None:
    """Labels that came are written; a second job asks only for the others."""
    Endpoint.objects.update(concurrency=1)
    paid = completion("LABEL: cats", cost=0.01)
    poor = (402, {"error": {"message": "You need credits."}}, {})
    server.responds = lambda _: poor if len(server.requests) == 3 else (200, paid, {})
    job = done(start("explain_sae", most=6, only_unlabelled=False))
    assert (job.state, job.error_field) == ("failed", "endpoint")
    assert "wants to be paid first (402: You need credits)" in job.error
    assert Label.objects.count() == job.result["labels"] == 3
    assert job.result["cost"] == pytest.approx(0.03)
    again = done(start("explain_sae", most=6, only_unlabelled=False))
    assert again.state == "finished", again.error
    assert len(server.requests) == 3 + 1 + 3
    assert (Label.objects.count(), again.result["cost"]) == (6, pytest.approx(0.03))
    assert Exchange.objects.filter(job=again).count() == 6


def test_answers_that_a_database_cannot_hold_are_stored_all_the_same(
    ready: Sae, server: StandIn
) -> None:
    server.responds = lambda _: (200, completion("LABEL: ca\0ts \ud83d"), {})
    job = done(start("explain_sae", most=2))
    assert job.state == "finished", job.error
    assert set(Label.objects.values_list("text", flat=True)) == {"cats \ufffd"}
