"""One worker and four, an undisturbed run and a cut one, one SAE and several at once: the same rows
to the bit.
"""

import json
import math
import random

import pytest
import torch

from features.ingest import dashboards as dashboard_ingest
from features.jobs import recovery as job_recovery
from features.models import Dashboard, Feature, Job, JobEvent, Sequence
from features.records import InvalidInput, InvalidParams
from features.services import jobs as job_services
from tests.workers import planted_sae
from workers import model_cache
from workers.jobs import corpus_scan, runner
from workers.lifecycle.work import RunningJob
from workers.pipeline.dashboards import checkpoint as scan_checkpoint
from workers.pipeline.dashboards import compute as dashboards_compute
from workers.pipeline.dashboards.accumulator import DashboardSettings, FeatureAccumulator
from workers.pipeline.dashboards.corpus_pass import Shard, Target, batches, empty_scan, run_scan

HOOKS = ["blocks.0.hook_resid_post", "blocks.2.hook_resid_post"]
ROWS = pytest.mark.django_db(transaction=True)
COUNTED = 9021
"""The tokens of the whole contexts in which the first 9,001 are."""


@pytest.fixture(autouse=True)
def _places(settings, tmp_path):
    settings.VAR, settings.ARTIFACTS_URL = tmp_path / "var", str(tmp_path / "artifacts")
    model_cache.clear()


@pytest.fixture
def ready(model_folders, tmp_path, texts, monkeypatch):
    """A model, a corpus, and an SAE on each of two layers; their features are written in four
    ranges.
    """
    monkeypatch.setattr(DashboardSettings, "features_per_range", 16)
    place = tmp_path / "texts.jsonl"
    rows = [{"text": f"{text}\n# {round_} {name}"} for round_ in range(20) for name, text in texts]
    place.write_text("\n".join(map(json.dumps, rows)))
    assert (
        done(
            job_services.start("add_model", {"slug": "tiny", "source": str(model_folders["llama"])})
        ).state
        == "finished"
    )
    assert (
        done(job_services.start("add_corpus", {"slug": "texts", "source": str(place)})).state
        == "finished"
    )
    for slug, hook in zip("ab", HOOKS, strict=True):
        wanted = {
            "model": "tiny",
            "slug": slug,
            "corpus": "texts",
            "hook": hook,
            "width": 64,
            "k": 4,
            "tokens": 10_000,
        }
        job = done(job_services.start("train_sae", {**wanted, "context_size": 32, "then": False}))
        assert job.state == "finished", job.error


def done(job: Job) -> Job:
    runner.run(job.pk)
    return Job.objects.get(pk=job.pk)


def start(sae: str = "tiny/a", **more) -> Job:
    return job_services.start(
        "compute_dashboards", {"sae": sae, "corpus": "texts", "tokens": 9001, **more}
    )


def parts_of(job: Job) -> list[Job]:
    return list(job.parts.order_by("id"))


def said(job: Job) -> str:
    return " ".join(
        JobEvent.objects.filter(job=job, kind="log")
        .order_by("id")
        .values_list("data__text", flat=True)
    )


def rows(slug: str = "a") -> list:
    """Everything that is stored of an SAE, without ids and times."""
    features = Feature.objects.filter(sae__slug=slug).order_by("index")
    places = dict(Sequence.objects.values_list("id", "position"))
    found = []
    for feature in features.prefetch_related("examples"):
        numbers = [getattr(feature, name) for name in dashboard_ingest.COLUMNS]
        kept = sorted(feature.examples.all(), key=lambda e: (e.band, e.rank))
        found.append(
            (
                numbers,
                [
                    (e.band, e.rank, places[e.sequence_id], e.peak, e.positions, e.values)
                    for e in kept
                ],
            )
        )
    shown = Dashboard.objects.get(sae__slug=slug)
    return [found, shown.tokens, shown.alive, shown.density_histogram]


@pytest.fixture
def alone(ready) -> list:
    """The rows that one worker makes of SAE a in one go."""
    job = done(start())
    assert (job.state, job.result["tokens"]) == ("finished", COUNTED), job.error
    made = rows()
    assert sum(len(examples) for _, examples in made[0]) > 100
    return made


@ROWS
@pytest.mark.parametrize("shards", [2, 4])
def test_one_worker_and_several_make_the_same_rows_to_the_bit(alone, shards, settings, tmp_path):
    Feature.objects.all().delete()
    job = start(shards=shards)
    parts = parts_of(job)
    assert (job.state, [p.kind for p in parts]) == ("waiting", ["scan_shard"] * shards)
    order = random.Random(shards).sample(parts, shards)
    for place, part in enumerate(order):
        assert Job.objects.get(pk=job.pk).state == "waiting"
        read = done(part)
        assert (read.state, read.done < COUNTED * 1.5 / shards) == ("finished", True), (
            place,
            read.error,
        )
    assert Job.objects.get(pk=job.pk).state == "queued"
    job = done(job)
    assert (job.state, job.result["tokens"]) == ("finished", COUNTED), job.error
    assert sum(Job.objects.get(pk=part.pk).result["tokens"] for part in parts) == COUNTED
    assert rows() == alone
    assert not [path for path in (tmp_path / "artifacts" / "jobs").rglob("*") if path.is_file()]


@ROWS
def test_a_shard_runs_the_model_on_its_own_contexts_alone(ready, monkeypatch):
    ran = []
    harvest = run_scan.__globals__["activations_at"]

    def spy(language, hooks, fed):
        return harvest(language, hooks, (ran.append(len(ids)) or ids for ids in fed))

    monkeypatch.setitem(run_scan.__globals__, "activations_at", spy)
    contexts = math.ceil(9001 / 31)  # each begins with BOS; separators inside add a few
    job = start(shards=3)
    for part in parts_of(job):
        ran.clear()
        done(part)
        assert contexts / 3 * 0.7 < sum(ran) < contexts / 3 * 1.4


@ROWS
@pytest.mark.parametrize("interrupted", ["in the middle", "after the scan", "while writing"])
def test_a_job_whose_worker_died_goes_on_and_ends_in_the_same_rows(alone, monkeypatch, interrupted):
    Feature.objects.all().delete()
    monkeypatch.setattr(dashboards_compute, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(dashboards_compute, "CHECKPOINT_SHARE", 1e9)
    job, written, ran = start(), [], []
    keep, write, harvest = (
        RunningJob._store_checkpoint,
        dashboard_ingest.write_range,
        run_scan.__globals__["activations_at"],
    )

    class Killed(BaseException):
        """As if by signal 9: nothing that the job has for its own end is run."""

    def dies_at_a_checkpoint(self, record):
        keep(self, record)
        if (record.step > 4000) if interrupted == "in the middle" else (record.step == COUNTED):
            raise Killed

    def dies_writing(sae, corpus, size, batch):
        if len(written) == 2:
            raise Killed
        written.append(batch.start)
        return write(sae, corpus, size, batch)

    with monkeypatch.context() as patched:
        if interrupted == "while writing":
            patched.setattr(dashboard_ingest, "write_range", dies_writing)
        else:
            patched.setattr(RunningJob, "_store_checkpoint", dies_at_a_checkpoint)
        with pytest.raises(Killed):
            runner.run(job.pk)
    cut = Job.objects.get(pk=job.pk)
    assert (cut.state, bool(cut.checkpoint)) == ("running", True)
    assert not Dashboard.objects.filter(job=job).exists()
    Job.objects.filter(pk=job.pk).update(lease_until=cut.started)
    assert job_recovery.reap() == [job.pk]

    def spy(language, hooks, fed):
        return harvest(language, hooks, (ran.append(len(ids)) or ids for ids in fed))

    def follows(sae, corpus, size, batch):
        written.append(batch.start)
        return write(sae, corpus, size, batch)

    monkeypatch.setitem(run_scan.__globals__, "activations_at", spy)
    monkeypatch.setattr(dashboard_ingest, "write_range", follows)
    job = done(job)
    assert (job.state, job.attempts) == ("finished", 2), job.error
    assert "Continuing after" in said(job)
    assert sum(ran) < 9001 / 31 * 0.7
    if interrupted != "in the middle":
        assert not ran
    assert written == [0, 16, 32, 48]
    assert rows() == alone


@ROWS
def test_a_part_that_is_killed_is_tried_again_and_changes_nothing(alone, monkeypatch):
    monkeypatch.setattr(dashboards_compute, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(dashboards_compute, "CHECKPOINT_SHARE", 1e9)
    job = start(shards=2)
    first, second = parts_of(job)
    stopped = iter([False] * 8)
    with monkeypatch.context() as patched:
        patched.setattr(RunningJob, "should_stop", lambda self: next(stopped, True))
        assert done(first).state == "queued"
    assert "Checkpoint" in said(first)
    for part in (second, first):
        assert done(part).state == "finished"
    assert "Continuing after" in said(first)
    assert done(job).state == "finished"
    assert rows() == alone


@ROWS
def test_a_part_that_fails_fails_the_whole_and_ends_its_siblings(ready, tmp_path, monkeypatch):
    job = start(shards=3)
    first, second, third = parts_of(job)
    done(first)
    assert (tmp_path / "artifacts" / "jobs" / str(first.pk)).is_dir()

    def breaks(*args, **kwargs):
        raise InvalidInput("corpus", "unreadable")

    monkeypatch.setattr(corpus_scan, "scan_with_progress", breaks)
    assert done(second).state == "failed"
    job = Job.objects.get(pk=job.pk)
    assert (job.state, job.error_field) == ("failed", "corpus")
    assert f"job {second.pk}" in job.error
    assert "unreadable" in job.error
    assert Job.objects.get(pk=third.pk).state == "cancelled"
    assert done(third).state == "cancelled"
    assert not [path for path in (tmp_path / "artifacts" / "jobs").rglob("*") if path.is_file()]
    assert not Dashboard.objects.exists()


@ROWS
def test_several_saes_are_read_in_one_pass_and_each_gets_its_own_dashboards(alone, monkeypatch):
    done(start("tiny/b"))
    both = [rows("a"), rows("b")]
    Feature.objects.all().delete()
    passes = []
    harvest = run_scan.__globals__["activations_at"]
    monkeypatch.setitem(
        run_scan.__globals__,
        "activations_at",
        lambda *args: passes.append(args[1]) or harvest(*args),
    )
    job = done(start("tiny/a,  tiny/b"))
    assert (job.state, job.params["sae"]) == ("finished", "tiny/a tiny/b"), job.error
    assert passes == [HOOKS]
    assert job.result["alive"] == both[0][2] + both[1][2]
    assert [rows("a"), rows("b")] == both
    assert Dashboard.objects.filter(job=job).count() == 2
    job = start("tiny/b tiny/a", shards=2)
    assert [done(part).state for part in parts_of(job)] == ["finished"] * 2
    assert done(job).state == "finished"
    assert [rows("a"), rows("b")] == both


@ROWS
def test_what_cannot_be_read_together_is_refused_with_both_names(ready):
    from features.models import Sae

    Sae.objects.filter(slug="b").update(context_size=16)
    with pytest.raises(
        InvalidParams, match=r"tiny/a reads contexts of 32 tokens.*tiny/b contexts of 16 tokens"
    ):
        start("tiny/a tiny/b")
    with pytest.raises(InvalidParams, match="no SAE “tiny/c”"):
        start("tiny/a tiny/c")
    Sae.objects.filter(slug="b").update(context_size=32)
    start("tiny/a")
    with pytest.raises(InvalidParams, match="the dashboards of tiny/a already"):
        start("tiny/b tiny/a")
    assert Job.objects.filter(kind="compute_dashboards").count() == 1


@ROWS
def test_a_checkpoint_of_other_weights_is_not_gone_on_from(ready, monkeypatch):
    from features.models import Sae

    job = start()
    write = dashboard_ingest.write_range
    monkeypatch.setattr(
        dashboard_ingest, "write_range", lambda *args: (_ for _ in ()).throw(TimeoutError("gone"))
    )
    assert done(job).state == "queued"
    monkeypatch.setattr(dashboard_ingest, "write_range", write)
    one, other = Sae.objects.get(slug="a"), Sae.objects.get(slug="b")
    Sae.objects.filter(pk=one.pk).update(sha256=other.sha256, artifact=other.artifact)
    Job.objects.filter(pk=job.pk).update(not_before=None)
    assert done(job).state == "finished"
    assert "Starting from the beginning" in said(job)


def test_a_tally_comes_back_from_its_file_as_it_was(tmp_path):
    language, sae = planted_sae.language(exact=True), planted_sae.sae("topk", exact=True)
    settings, sequences = DashboardSettings(), planted_sae.texts(60, 24)
    *_, whole = run_scan(language, [Target(sae, planted_sae.HOOK)], sequences, 10**9, settings)
    place = scan_checkpoint.save_checkpoint(whole, tmp_path / "kept", "this")
    again = scan_checkpoint.load_checkpoint(place, settings, "cpu", "this")
    assert (again.batches, again.complete, again.tokens) == (whole.batches, True, whole.tokens)
    one, other = whole.accumulators[0].tensors(), again.accumulators[0].tensors()
    assert one.keys() == other.keys()
    assert all(
        torch.equal(one[name], other[name])
        for name in one
        if not name.endswith((".keys", ".payloads"))
    )
    assert (
        again.accumulators[0].candidates.sequences.keys()
        == whole.accumulators[0].candidates.sequences.keys()
    )
    with pytest.raises(InvalidInput, match="changed since"):
        scan_checkpoint.load_checkpoint(place, settings, "cpu", "that")


def test_what_is_mostly_empty_takes_little_room(tmp_path):
    sae = planted_sae.sae("topk", 1024)
    empty = empty_scan([Target(sae, planted_sae.HOOK)], DashboardSettings())
    place = scan_checkpoint.save_checkpoint(empty, tmp_path / "kept", "")
    assert (
        sum(path.stat().st_size for path in place.iterdir())
        < 20_000
        < empty.accumulators[0].nbytes() / 100
    )


def test_a_file_that_is_no_tally_is_refused(tmp_path):
    (tmp_path / "0.safetensors").write_bytes(b"no tensors")
    with pytest.raises(InvalidInput, match="is not a checkpoint"):
        scan_checkpoint.load_checkpoint(tmp_path, DashboardSettings(), "cpu", "")
    with pytest.raises(InvalidInput, match="no checkpoint"):
        scan_checkpoint.load_checkpoint(tmp_path / "nothing", DashboardSettings(), "cpu", "")


def test_shards_have_every_batch_once_and_count_every_token_once():
    language, sequences = planted_sae.language(), planted_sae.texts(50, 20)
    targets, settings = (
        [Target(planted_sae.sae("topk"), planted_sae.HOOK)],
        DashboardSettings(batch_sequences=4),
    )
    counted = []
    for number in range(3):
        *_, found = run_scan(language, targets, sequences, 601, settings, Shard(number, 3))
        counted.append(found.tokens)
    *_, alone = run_scan(language, targets, sequences, 601, settings)
    assert 601 <= sum(counted) == alone.tokens < 601 + 20
    fed = list(batches(sequences, 4, language.special_ids, 601))
    assert counted == [
        sum(int(batch.counted.sum()) for batch in fed[number::3]) for number in range(3)
    ]


def test_a_scan_that_is_taken_up_ends_as_one_that_was_never_put_down(tmp_path):
    language, sequences = planted_sae.language(exact=True), planted_sae.texts(60, 24)
    targets, settings = (
        [Target(planted_sae.sae("topk", exact=True), planted_sae.HOOK)],
        DashboardSettings(batch_sequences=8),
    )
    *_, whole = run_scan(language, targets, sequences, 900, settings)
    some = next(
        done for done in run_scan(language, targets, sequences, 900, settings) if done.batches == 3
    )
    begun = scan_checkpoint.load_checkpoint(
        scan_checkpoint.save_checkpoint(some, tmp_path / "kept", ""), settings, "cpu", ""
    )
    *_, again = run_scan(language, targets, sequences, 900, settings, begun=begun)
    assert (again.tokens, again.batches) == (whole.tokens, whole.batches)
    assert same(again.accumulators[0], whole.accumulators[0])


def same(one: FeatureAccumulator, other: FeatureAccumulator) -> bool:
    first, second = one.tensors(), other.tensors()
    return all(
        torch.equal(first[name], second[name])
        for name in first
        if not name.endswith((".keys", ".payloads"))
    )
