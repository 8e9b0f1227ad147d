"""Training: it learns, it says how, it stops and goes on exactly, and its checkpoints survive a
kill.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from sae_lens import SAE

from features.records import (
    COUNT_ORDINARY,
    SAE_ARCHITECTURES,
    Checkpoint,
    InvalidInput,
    LogLine,
    Metrics,
    Progress,
    SequenceRecord,
    TrainedSae,
)
from workers.pipeline.data.tokens import pack, token_batches
from workers.pipeline.model.activations import activations_at
from workers.pipeline.model.counted_tokens import counted_tokens
from workers.pipeline.sae.io import content_hash, load_sae
from workers.pipeline.training.activation_stream import ActivationStream
from workers.pipeline.training.architectures import (
    ARCHITECTURES,
    TrainSettings,
    validate_settings,
)
from workers.pipeline.training.checkpoints import latest_checkpoint
from workers.pipeline.training.train import train

HOOK = "blocks.1.hook_resid_post"
SMALL = TrainSettings(
    hook=HOOK,
    width=64,
    k=8,
    tokens=12_000,
    context_size=32,
    batch_tokens=256,
    log_tokens=1000,
    checkpoint_tokens=3000,
    dead_tokens=2000,
)


@pytest.fixture(scope="module")
def sequences(llama, texts):
    """A fresh stream of contexts per call."""
    return lambda: pack(texts, llama.tokenizer, SMALL.context_size)


@pytest.fixture(scope="module")
def finished(llama, sequences, tmp_path_factory):
    """(records, folder) of one whole small run."""
    folder = tmp_path_factory.mktemp("run")
    return list(train(llama, sequences, SMALL, str(folder))), folder


def of(kind, records):
    return [record for record in records if isinstance(record, kind)]


def held_activations(llama, sequences) -> torch.Tensor:
    found = []
    for ids in token_batches(sequences(), 32):
        x = next(activations_at(llama, [HOOK], [ids]))[HOOK]
        found.append(x[counted_tokens(ids, x, llama.special_ids, COUNT_ORDINARY)])
    return torch.cat(found)


def explained(sae, x) -> float:
    error = (x - sae.decode(sae.encode(x))).pow(2).sum()
    return 1 - (error / (x - x.mean(0)).pow(2).sum()).item()


def test_the_finished_sae_explains_activations_on_their_own_scale(finished, llama, sequences):
    records, _ = finished
    x = held_activations(llama, sequences)
    last = of(TrainedSae, records)[-1]
    for sae in (load_sae(last.path), SAE.load_from_disk(last.path)):
        assert explained(sae, x) > 0.4
        assert ((sae.encode(x) != 0).sum(-1) <= SMALL.k).all()
    assert explained(load_sae(last.path), x) == pytest.approx(
        last.metrics["explained_variance"], abs=0.08
    )
    assert last.sha256 == content_hash(last.path)
    assert (last.architecture, last.d_in, last.width, last.hook) == ("topk", 32, 64, HOOK)


def test_metrics_progress_and_one_result_come_in_order(finished):
    records, _ = finished
    metrics, progress = of(Metrics, records), of(Progress, records)
    assert isinstance(records[0], Progress)
    assert isinstance(records[-1], TrainedSae)
    assert 10 <= len(metrics) <= 16
    assert [m.step for m in metrics] == sorted({m.step for m in metrics})
    assert metrics[-1].step >= SMALL.tokens
    assert (progress[0].done, progress[-1].done, progress[-1].total) == (
        0,
        SMALL.tokens,
        SMALL.tokens,
    )
    assert metrics[-1].values["explained_variance"] > metrics[0].values["explained_variance"] + 0.3
    assert metrics[-1].values["mse"] < metrics[0].values["mse"]
    assert all(m.values["l0"] <= SMALL.k and 0 <= m.values["dead_share"] <= 1 for m in metrics)
    assert "last 2,000 tokens" in of(LogLine, records)[0].text


def test_a_corpus_that_ends_is_read_again_and_the_log_says_so(finished):
    assert any("read again" in line.text for line in of(LogLine, finished[0]))


def test_the_last_two_checkpoints_are_kept_and_the_newest_is_found(finished):
    records, folder = finished
    written = [Path(c.path).name for c in of(Checkpoint, records)]
    assert len(written) == 3
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == written[-2:]
    assert latest_checkpoint(str(folder)) == of(Checkpoint, records)[-1].path
    assert latest_checkpoint(str(folder / "sae")) is None


def test_two_runs_with_one_seed_are_the_same(finished, llama, sequences, tmp_path):
    records = list(train(llama, sequences, SMALL, str(tmp_path)))
    assert records[-1].sha256 == finished[0][-1].sha256


@pytest.mark.parametrize("after", [9, 24, 37])
def test_a_run_that_is_stopped_and_resumed_ends_with_the_same_weights(
    finished, llama, sequences, tmp_path, after
):
    left = iter(range(after))
    first = list(
        train(
            llama,
            sequences,
            SMALL,
            str(tmp_path / "a"),
            should_stop=lambda: next(left, None) is None,
        )
    )
    assert not of(TrainedSae, first)
    point = of(Checkpoint, first)[-1]
    assert 0 < point.step < SMALL.tokens
    second = list(train(llama, sequences, SMALL, str(tmp_path / "b"), resume_from=point.path))
    assert f"Resuming at {point.step:,} tokens" in of(LogLine, second)[0].text
    assert of(Metrics, second)[0].step > point.step
    assert of(Metrics, second)[-1].step == of(Metrics, finished[0])[-1].step
    ours, theirs = load_sae(second[-1].path), load_sae(finished[0][-1].path)
    torch.testing.assert_close(ours.W_dec, theirs.W_dec)


def test_a_checkpoint_is_an_sae_that_can_be_read(finished, llama, sequences):
    sae = load_sae(of(Checkpoint, finished[0])[-1].path)
    assert explained(sae, held_activations(llama, sequences)) > 0.3


def test_resuming_with_other_settings_is_refused(finished, llama, sequences, tmp_path):
    point = of(Checkpoint, finished[0])[-1].path
    with pytest.raises(InvalidInput, match="another k") as caught:
        list(train(llama, sequences, SMALL._replace(k=4), str(tmp_path), resume_from=point))
    assert caught.value.field == "resume_from"


def test_resuming_from_nothing_is_refused(llama, sequences, tmp_path):
    with pytest.raises(InvalidInput) as caught:
        list(train(llama, sequences, SMALL, str(tmp_path), resume_from=str(tmp_path)))
    assert caught.value.field == "resume_from"


def test_the_form_offers_what_the_pipeline_trains():
    assert set(ARCHITECTURES) == set(SAE_ARCHITECTURES)


@pytest.mark.parametrize("architecture", [name for name in ARCHITECTURES if name != "topk"])
def test_every_architecture_learns_and_is_saved_on_the_common_scale(
    architecture, llama, sequences, tmp_path
):
    settings = SMALL._replace(architecture=architecture, tokens=8000, learning_rate=0.01)
    records = list(train(llama, sequences, settings, str(tmp_path)))
    first, last = of(Metrics, records)[0].values, of(Metrics, records)[-1].values
    sae, x = load_sae(records[-1].path), held_activations(llama, sequences)
    assert last["explained_variance"] > first["explained_variance"] + 0.2
    assert 0 < last["l0"] < 40
    assert explained(sae, x) == pytest.approx(last["explained_variance"], abs=0.15)
    torch.testing.assert_close(
        SAE.load_from_disk(records[-1].path).W_dec.norm(dim=-1), torch.ones(64)
    )


@pytest.mark.parametrize("architecture", ["batchtopk", "matryoshka"])
def test_a_short_batchtopk_run_has_the_sparsity_it_was_asked_for(
    architecture, llama, sequences, tmp_path
):
    settings = SMALL._replace(architecture=architecture, tokens=6000)
    sae = load_sae(list(train(llama, sequences, settings, str(tmp_path)))[-1].path)
    firing = (sae.encode(held_activations(llama, sequences)) != 0).sum(-1).float().mean().item()
    assert firing == pytest.approx(SMALL.k, rel=0.25)


def test_a_loss_that_explodes_names_the_learning_rate(llama, sequences, tmp_path):
    with pytest.raises(InvalidInput) as caught:
        list(train(llama, sequences, SMALL._replace(learning_rate=1e30), str(tmp_path)))
    assert caught.value.field == "learning_rate"
    assert not (tmp_path / "sae").exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hook", "blocks.7.hook_resid_post"),
        ("architecture", "magic"),
        ("width", 0),
        ("k", 0),
        ("k", 65),
        ("tokens", 100),
        ("context_size", 65),
        ("context_size", 1),
        ("batch_tokens", 0),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("l1_coefficient", -1.0),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name_before_anything_is_made(
    field, value, llama, sequences, tmp_path
):
    with pytest.raises(InvalidInput) as caught:
        list(train(llama, sequences, SMALL._replace(**{field: value}), str(tmp_path / "run")))
    assert caught.value.field == field
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("architecture", ["standard", "gated"])
def test_a_k_that_an_architecture_does_not_read_refuses_no_narrow_sae(architecture, llama):
    assert validate_settings(SMALL._replace(architecture=architecture, width=8, k=24), llama) == 32


def test_the_stream_serves_each_counted_token_once_and_no_other(llama, sequences):
    stream = ActivationStream(llama, {HOOK: COUNT_ORDINARY}, sequences, 128)
    everything = held_activations(llama, sequences)
    served = []
    while stream.position.epoch == 0:
        stream.advance()
        served.append(stream.batch(HOOK, 0))
    served = torch.cat(served[:-1])  # the last batch is of the second pass
    assert len(served) == len(everything)
    assert torch.equal(served.sum(-1).sort().values, everything.sum(-1).sort().values)
    assert not torch.equal(served, everything)


def test_what_an_sae_is_served_does_not_depend_on_who_reads_beside_it(llama, sequences):
    hooks = ["blocks.0.hook_resid_post", HOOK, "blocks.2.hook_mlp_out"]
    alone, beside = (
        ActivationStream(llama, dict.fromkeys(which, COUNT_ORDINARY), sequences, 128)
        for which in ([HOOK], hooks)
    )
    for _ in range(40):
        alone.advance()
        beside.advance()
        beside.batch(hooks[0], 7)
        assert alone.position == beside.position
        assert torch.equal(alone.batch(HOOK, 3), beside.batch(HOOK, 3))


def test_an_empty_stream_is_refused(llama, tmp_path):
    with pytest.raises(InvalidInput) as caught:
        list(train(llama, lambda: iter([]), SMALL, str(tmp_path)))
    assert caught.value.field == "corpus"


def test_a_stream_of_special_tokens_alone_is_refused(llama, tmp_path):
    nothing = partial(iter, [SequenceRecord(0, "", [0] * 32)])
    with pytest.raises(InvalidInput) as caught:
        list(train(llama, nothing, SMALL, str(tmp_path)))
    assert caught.value.field == "corpus"


KILLED = """
import sys, torch
from workers.pipeline.model.language import load_language
from workers.pipeline.data.tokens import pack
from workers.pipeline.training.architectures import TrainSettings
from workers.pipeline.training.train import train
torch.set_num_threads(1)
language = load_language(sys.argv[1])
texts = [(str(n), f"def cat{n}(self): return {n} " * 20) for n in range(50)]
settings = TrainSettings(hook="blocks.1.hook_resid_post", width=64, k=8, tokens=10**8,
                         context_size=32, batch_tokens=128, checkpoint_tokens=128, log_tokens=10**6)
for record in train(language, lambda: pack(texts, language.tokenizer, 32), settings, sys.argv[2]):
    print(type(record).__name__, flush=True)
"""


def test_a_kill_at_any_moment_leaves_a_checkpoint_that_can_be_read(model_folders, tmp_path):
    """The child writes a checkpoint at every step, so that SIGKILL falls into a write more often
    than not.
    """
    command = [sys.executable, "-c", KILLED, str(model_folders["llama"]), str(tmp_path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": "."}
    ) as child:
        written = 0
        for line in child.stdout:
            written += line.startswith("Checkpoint")
            if written == 5:
                break
        for pause in (0.003, 0.011, 0.02):
            time.sleep(pause)
            assert load_sae(_readable(tmp_path)).cfg.d_sae == 64
        child.send_signal(signal.SIGKILL)
        child.wait(timeout=10)
    newest = latest_checkpoint(str(tmp_path))
    assert load_sae(newest).cfg.d_sae == 64
    assert (Path(newest) / "trainer_state.pt").is_file()
    assert (Path(newest) / "run.json").is_file()


def _readable(folder: Path) -> str:
    """A copy of the newest checkpoint, taken while the run goes on (it may delete what it replaces
    meanwhile).
    """
    for attempt in range(20):
        try:
            return shutil.copytree(
                latest_checkpoint(str(folder)), folder / f"copy-{time.monotonic_ns()}-{attempt}"
            )
        except (OSError, shutil.Error):
            continue
    raise AssertionError("no checkpoint could be copied")
