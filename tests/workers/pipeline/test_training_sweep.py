"""A sweep: several SAEs from one forward pass, each the same as if it were alone, and none the ruin
of the others.
"""

import pytest
import torch

from features.records import Checkpoint, InvalidInput, LogLine, Metrics, Progress, TrainedSae
from workers.pipeline.data.tokens import pack
from workers.pipeline.sae.io import load_sae
from workers.pipeline.training import activation_stream
from workers.pipeline.training.architectures import TrainSettings
from workers.pipeline.training.train import train, train_sweep

SMALL = TrainSettings(
    hook="blocks.1.hook_resid_post",
    width=64,
    k=8,
    tokens=8_000,
    context_size=32,
    batch_tokens=256,
    log_tokens=1000,
    checkpoint_tokens=3000,
    dead_tokens=2000,
)
SWEEP = {
    "base": SMALL,
    "wide": SMALL._replace(width=96, k=4),
    "other-hook": SMALL._replace(hook="blocks.0.hook_mlp_out"),
    "batch": SMALL._replace(architecture="batchtopk", seed=5),
    "l1": SMALL._replace(architecture="standard", learning_rate=0.003),
}


@pytest.fixture(scope="module")
def sequences(llama, texts):
    return lambda: pack(texts, llama.tokenizer, SMALL.context_size)


@pytest.fixture(scope="module")
def swept(llama, sequences, tmp_path_factory):
    return list(train_sweep(llama, sequences, SWEEP, str(tmp_path_factory.mktemp("sweep"))))


def of(kind, records):
    return [record for record in records if isinstance(record, kind)]


def digests(records) -> dict[str, str]:
    return {record.name: record.sha256 for record in of(TrainedSae, records)}


@pytest.mark.parametrize("name", SWEEP)
def test_an_sae_of_a_sweep_is_the_one_that_is_trained_alone(
    name, swept, llama, sequences, tmp_path
):
    alone = list(train(llama, sequences, SWEEP[name], str(tmp_path)))
    assert digests(swept)[name] == digests(alone)[""]


def test_the_model_runs_once_for_all(llama, sequences, tmp_path, monkeypatch):
    passes = []
    run = activation_stream.activations_at

    def counting(language, hooks, batches):
        passes.append(tuple(hooks))
        return run(language, hooks, batches)

    monkeypatch.setattr(activation_stream, "activations_at", counting)
    list(train(llama, sequences, SMALL, str(tmp_path / "one")))
    alone = len(passes)
    passes.clear()
    list(train_sweep(llama, sequences, SWEEP, str(tmp_path / "many")))
    assert len(passes) == alone
    assert set(passes) == {("blocks.1.hook_resid_post", "blocks.0.hook_mlp_out")}


def test_each_sae_has_its_own_series_and_folder(swept):
    trained = of(TrainedSae, swept)
    assert [record.name for record in trained] == list(SWEEP)
    assert len({record.path for record in trained}) == len(SWEEP)
    for record in trained:
        series = [m for m in of(Metrics, swept) if m.series == record.name]
        assert [m.step for m in series] == sorted({m.step for m in series})
        assert series[-1].step >= SMALL.tokens
        assert series[-1].values.items() <= record.metrics.items()
        assert load_sae(record.path).cfg.d_sae == record.width == SWEEP[record.name].width
    progress = of(Progress, swept)
    assert [p.done for p in progress] == sorted(p.done for p in progress)
    assert " to " in progress[-2].note
    assert "5 SAEs from one forward pass" in of(LogLine, swept)[0].text


@pytest.mark.parametrize("after", [9, 18, 31])
def test_a_sweep_that_is_stopped_and_resumed_ends_with_the_same_weights(
    swept, llama, sequences, tmp_path, after
):
    left = iter(range(after))
    first = list(
        train_sweep(
            llama,
            sequences,
            SWEEP,
            str(tmp_path / "a"),
            should_stop=lambda: next(left, None) is None,
        )
    )
    assert not of(TrainedSae, first)
    point = of(Checkpoint, first)[-1].path
    second = list(train_sweep(llama, sequences, SWEEP, str(tmp_path / "b"), resume_from=point))
    ours, theirs = (
        {r.name: load_sae(r.path).W_dec for r in of(TrainedSae, run)} for run in (second, swept)
    )
    assert list(ours) == list(SWEEP)
    for name, weights in ours.items():
        torch.testing.assert_close(weights, theirs[name])


def test_an_sae_whose_loss_is_no_number_is_left_out_and_the_others_are_as_they_were(
    swept, llama, sequences, tmp_path
):
    with_a_bad_one = {
        "bad": SMALL._replace(learning_rate=1e30),
        **{n: SWEEP[n] for n in ("base", "batch")},
    }
    records = list(train_sweep(llama, sequences, with_a_bad_one, str(tmp_path)))
    assert digests(records) == {name: digests(swept)[name] for name in ("base", "batch")}
    said = [line.text for line in of(LogLine, records) if line.text.startswith("bad is left out")]
    assert len(said) == 1
    assert "use a learning rate below 1e+30" in said[0]
    assert all(m.values["loss"] == m.values["loss"] for m in of(Metrics, records))
    point = of(Checkpoint, records)[-1].path
    again = list(
        train_sweep(llama, sequences, with_a_bad_one, str(tmp_path / "again"), resume_from=point)
    )
    assert list(digests(again)) == ["base", "batch"]


def test_a_sweep_of_which_nothing_is_left_fails_at_the_learning_rate(llama, sequences, tmp_path):
    bad = {name: SMALL._replace(learning_rate=1e30, seed=seed) for seed, name in enumerate("ab")}
    with pytest.raises(InvalidInput, match="no longer a number") as caught:
        list(train_sweep(llama, sequences, bad, str(tmp_path)))
    assert caught.value.field == "learning_rate"


def test_a_checkpoint_is_of_the_saes_it_was_made_with(llama, sequences, tmp_path):
    left = iter(range(6))
    two = {"a": SMALL, "b": SMALL._replace(seed=1)}
    first = list(
        train_sweep(
            llama, sequences, two, str(tmp_path), should_stop=lambda: next(left, None) is None
        )
    )
    point = of(Checkpoint, first)[-1].path
    with pytest.raises(InvalidInput, match="other SAEs: a, b"):
        list(train_sweep(llama, sequences, {"a": SMALL}, str(tmp_path), resume_from=point))
    changed = {"a": SMALL._replace(k=3), "b": SMALL}
    with pytest.raises(InvalidInput, match="another k, seed"):
        list(train_sweep(llama, sequences, changed, str(tmp_path), resume_from=point))


def test_saes_that_cannot_share_a_stream_are_refused(llama, sequences, tmp_path):
    with pytest.raises(InvalidInput, match="share context_size") as caught:
        list(
            train_sweep(
                llama, sequences, {"a": SMALL, "b": SMALL._replace(context_size=16)}, str(tmp_path)
            )
        )
    assert caught.value.field == "context_size"


def test_a_request_to_stop_is_heard_while_a_block_is_read(llama, sequences, tmp_path):
    """A block of a large model takes minutes; the request must not wait for its end."""
    asked = iter([False] * 2)
    long = SMALL._replace(batch_tokens=2048, tokens=10**6)
    records = list(
        train(llama, sequences, long, str(tmp_path), should_stop=lambda: next(asked, True))
    )
    assert [type(record) for record in records] == [Progress, LogLine]
    assert "before the first step" in records[-1].text
