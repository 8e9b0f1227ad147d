"""Every number of an evaluation against a slow reference of a few lines, and against SAEs whose
answer is known.
"""

import math
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from sae_lens import StandardSAE, StandardSAEConfig, TopKSAE, TopKSAEConfig

from features.records import Evaluation, InvalidInput, LogLine, Progress
from workers.pipeline.data.tokens import pack
from workers.pipeline.model.activations import activations_at
from workers.pipeline.model.hooks import resolve_hook
from workers.pipeline.sae.evaluate import evaluate
from workers.pipeline.sae.evaluation_sums import DENSITY_EDGES, density_histogram
from workers.pipeline.sae.weight_quality import weight_quality

HOOK = "blocks.1.hook_resid_post"


@pytest.fixture(scope="module")
def contexts(llama, texts):
    """Forty contexts of 24 tokens, some with a separator in the middle."""
    found = [
        sequence for sequence, _ in zip(pack(texts, llama.tokenizer, 24), range(40), strict=False)
    ]
    assert any(0 in sequence.token_ids[1:] for sequence in found)
    return found


@pytest.fixture(scope="module")
def sae():
    torch.manual_seed(3)
    made = TopKSAE(TopKSAEConfig(d_in=32, d_sae=100, k=5)).requires_grad_(False)
    made.b_enc.uniform_(-1, 1)
    made.b_enc[:10] = -1e6  # these never fire
    return made


def identity() -> StandardSAE:
    """Feature i is the positive part of dimension i, feature 32 + i the negative: reconstruction is
    exact.
    """
    made = StandardSAE(StandardSAEConfig(d_in=32, d_sae=64)).requires_grad_(False)
    made.W_dec.copy_(torch.cat([torch.eye(32), -torch.eye(32)]))
    made.W_enc.copy_(made.W_dec.T)
    return made


def result(*arguments) -> Evaluation:
    return list(evaluate(*arguments))[-1]


def reference(language, sae, contexts) -> dict[str, float]:
    """One context and one position at a time, in plain float64."""
    x, y, codes, ce, kl = [], [], [], [[], [], []], [[], []]
    block = resolve_hook(language.model, HOOK).module
    for sequence in contexts:
        ids = torch.tensor([sequence.token_ids])
        keep = [place for place, index in enumerate(sequence.token_ids) if index != 0]
        acts = next(activations_at(language, [HOOK], [ids]))[HOOK][0]
        for place in keep:
            x.append(acts[place].double())
            codes.append(sae.encode(acts[place]))
            y.append(sae.decode(codes[-1]).double())
        outcomes = []
        for change in (None, lambda a: sae.decode(sae.encode(a)), torch.zeros_like):

            def swap(_, __, output, change=change, keep=keep):
                new = output.clone()
                for place in keep:
                    new[0, place] = change(output[0, place])
                return new

            handle = block.register_forward_hook(swap) if change else None
            outcomes.append(language.model(ids).logits[0].double().log_softmax(-1))
            if handle:
                handle.remove()
        for place in range(len(sequence.token_ids) - 1):
            target = sequence.token_ids[place + 1]
            if sequence.token_ids[place] and target:
                for kind in range(3):
                    ce[kind].append(-outcomes[kind][place, target])
                for kind in (1, 2):
                    p, q = outcomes[0][place], outcomes[kind][place]
                    kl[kind - 1].append((p.exp() * (p - q)).sum())
    x, y, codes = torch.stack(x), torch.stack(y), torch.stack(codes)
    error = (x - y).pow(2).sum(-1)
    mean = lambda values: torch.stack(values).mean().item()  # noqa: E731
    original, with_sae, zero = (mean(values) for values in ce)
    kl_sae, kl_zero = (mean(values) for values in kl)
    shares = (codes != 0).double().mean(0)
    return {
        "l0": (codes != 0).double().sum(-1).mean().item(),
        "explained_variance": 1 - (error.mean() / (x - x.mean(0)).pow(2).sum(-1).mean()).item(),
        "mse": error.mean().item(),
        "cosine": torch.nn.functional.cosine_similarity(x, y, dim=-1).mean().item(),
        "l2_ratio": (y.norm(dim=-1) / x.norm(dim=-1)).mean().item(),
        "dead_share": (shares == 0).double().mean().item(),
        "dense_share": (shares > 0.1).double().mean().item(),
        "reconstruction_bias": (y.pow(2).sum(-1).mean() / (x * y).sum(-1).mean()).item(),
        **weights(sae),
        "ce_original": original,
        "ce_sae": with_sae,
        "ce_zero": zero,
        "kl_sae": kl_sae,
        "kl_zero": kl_zero,
        "ce_loss_score": (zero - with_sae) / (zero - original),
        "kl_score": (kl_zero - kl_sae) / kl_zero,
    }


def weights(sae) -> dict[str, float]:
    """What the weights alone say, one pair of features at a time."""
    unit = [row / row.norm() if row.norm() else row for row in sae.W_dec.double()]
    cosines = torch.tensor([[float(a @ b) for b in unit] for a in unit]).fill_diagonal_(-2)
    both = sorted(float(e @ d / e.norm()) for e, d in zip(sae.W_enc.T.double(), unit, strict=True))
    at = lambda share: float(torch.quantile(torch.tensor(both, dtype=torch.float64), share))  # noqa: E731
    return {
        "encoder_decoder_cosine": sum(both) / len(both),
        "encoder_decoder_cosine_q05": at(0.05),
        "encoder_decoder_cosine_median": at(0.5),
        "encoder_decoder_cosine_q95": at(0.95),
        "max_decoder_cosine": cosines.amax(1).mean().item(),
        "duplicate_share": (cosines.amax(1) > 0.9).double().mean().item(),
        "duplicate_pairs": int((cosines > 0.9).sum()) // 2,
    }


@pytest.mark.parametrize("block", [1, 300, 10**6])
def test_duplicates_are_counted_by_pair_and_by_feature(block):
    made = identity()
    made.W_dec[1], made.W_dec[2] = made.W_dec[0] * 3, made.W_dec[0] + 0.1 * made.W_dec[40]
    made.W_dec[5] = 0
    found = weight_quality(made, block)
    assert (found["duplicate_pairs"], found["duplicate_share"]) == (3, 3 / 64)
    for name, value in weights(made).items():
        if not name.startswith("encoder"):
            assert found[name] == pytest.approx(value, abs=1e-6), name


def test_weights_that_cannot_be_compared_give_no_number():
    assert weight_quality(StandardSAE(StandardSAEConfig(d_in=4, d_sae=1))).keys() == {
        "encoder_decoder_cosine",
        "encoder_decoder_cosine_q05",
        "encoder_decoder_cosine_median",
        "encoder_decoder_cosine_q95",
    }
    narrow = SimpleNamespace(W_enc=torch.randn(8, 20), W_dec=torch.randn(20, 6))
    assert weight_quality(narrow).keys() == {
        "max_decoder_cosine",
        "duplicate_share",
        "duplicate_pairs",
    }


def test_shrinkage_is_seen_where_every_reconstruction_is_half_as_long(llama, contexts):
    made = identity()
    made.W_dec.mul_(0.5)
    values = result(llama, made, HOOK, contexts[:8], 10**6).values
    assert (values["l2_ratio"], values["reconstruction_bias"]) == (
        pytest.approx(0.5),
        pytest.approx(0.5),
    )


def test_the_explained_variance_of_saebench_is_the_mean_of_its_tokens(llama, sae, contexts):
    """One batch of 32 contexts, as SAEBench computes it on one batch."""
    values = result(llama, sae, HOOK, contexts[:32], 10**6).values
    ids = torch.tensor([sequence.token_ids for sequence in contexts[:32]])
    x = next(activations_at(llama, [HOOK], [ids]))[HOOK][ids != 0]
    y = sae.decode(sae.encode(x))
    expected = (1 - (x - y).pow(2).sum(-1) / (x - x.mean(dim=0)).pow(2).sum(-1)).mean().item()
    assert values["explained_variance_per_token"] == pytest.approx(expected, rel=1e-4)
    assert values["explained_variance_per_token"] != pytest.approx(
        values["explained_variance"], rel=1e-3
    )


def test_every_number_equals_the_reference(llama, sae, contexts):
    measured = result(llama, sae, HOOK, contexts, 10**6)
    assert (
        measured.values.pop("explained_variance_per_token") < 1
    )  # depends on batches: it has a test of its own
    expected = reference(llama, sae, contexts)
    assert measured.values.keys() == expected.keys()
    for name, value in expected.items():
        assert measured.values[name] == pytest.approx(value, rel=2e-4, abs=1e-6), name
    assert measured.tokens == sum(
        index != 0 for sequence in contexts for index in sequence.token_ids
    )
    assert expected["dead_share"] >= 0.1


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox"])
@pytest.mark.parametrize(
    "hook", [HOOK, "blocks.1.hook_mlp_out", "blocks.0.hook_resid_pre", "blocks.1.attn.hook_z"]
)
def test_a_perfect_sae_costs_the_model_nothing(languages, family, hook, contexts):
    values = result(languages[family], identity(), hook, contexts[:8], 10**6).values
    assert values["explained_variance"] == pytest.approx(1)
    assert values["ce_sae"] == pytest.approx(values["ce_original"], abs=1e-5)
    assert values["kl_sae"] == pytest.approx(0, abs=1e-5)
    assert values["ce_zero"] != pytest.approx(values["ce_original"], abs=1e-3)
    assert (values["cosine"], values["l2_ratio"]) == (pytest.approx(1), pytest.approx(1))


def test_an_sae_that_only_knows_the_mean_explains_nothing(llama, contexts):
    made = identity()
    made.W_dec.zero_()
    ids = torch.tensor([sequence.token_ids for sequence in contexts])
    made.b_dec.copy_(next(activations_at(llama, [HOOK], [ids]))[HOOK][ids != 0].mean(0))
    made.cfg.apply_b_dec_to_input = False
    assert result(llama, made, HOOK, contexts, 10**6).values["explained_variance"] == pytest.approx(
        0, abs=1e-5
    )


def test_the_batch_size_changes_nothing(llama, sae, contexts, monkeypatch):
    whole = result(llama, sae, HOOK, contexts, 10**6)
    monkeypatch.setattr("workers.pipeline.sae.evaluate.LOGITS_AT_ONCE", 400 * 24 * 3)
    parts = result(llama, sae, HOOK, contexts, 10**6)
    assert parts.density_histogram == whole.density_histogram
    for name, value in whole.values.items():
        if name != "explained_variance_per_token":
            assert parts.values[name] == pytest.approx(value, rel=1e-5), name


def test_it_stops_after_the_tokens_asked_for_and_tells_progress(llama, sae, contexts, monkeypatch):
    monkeypatch.setattr("workers.pipeline.sae.evaluate.LOGITS_AT_ONCE", 1)
    records = list(evaluate(llama, sae, HOOK, contexts, 100))
    progress = [record for record in records if isinstance(record, Progress)]
    assert 100 <= records[-1].tokens < 124
    assert [p.done for p in progress] == sorted({p.done for p in progress})
    assert (progress[-1].done, progress[-1].total) == (100, 100)


def test_text_that_ends_early_is_mentioned(llama, sae, contexts):
    records = list(evaluate(llama, sae, HOOK, contexts[:2], 10**6))
    assert any(isinstance(record, LogLine) and "ended after" in record.text for record in records)


def test_a_request_to_stop_ends_without_a_result(llama, sae, contexts):
    records = list(evaluate(llama, sae, HOOK, contexts, 100, lambda: True))
    assert not any(isinstance(record, Evaluation) for record in records)


def test_densities_fall_into_their_bins():
    fires = torch.tensor([0, 1, 10, 100, 1000, 999])
    counts = density_histogram(fires, 1000)
    assert len(counts) == len(DENSITY_EDGES) - 1 == 28
    filled = {round(DENSITY_EDGES[place], 2): count for place, count in enumerate(counts) if count}
    assert filled == {-3.0: 1, -2.0: 1, -1.0: 1, -0.25: 2}
    assert sum(density_histogram(torch.tensor([1]), 10**9)) == 1


def test_an_sae_of_another_width_is_refused(llama, contexts):
    small = TopKSAE(TopKSAEConfig(d_in=16, d_sae=20, k=2))
    with pytest.raises(InvalidInput, match="16") as caught:
        result(llama, small, HOOK, contexts, 100)
    assert caught.value.field == "hook"


@pytest.mark.parametrize("empty", [[], None])
def test_held_out_text_without_tokens_is_refused(llama, sae, contexts, empty):
    nothing = [] if empty == [] else [contexts[0]._replace(token_ids=[0] * 24)]
    with pytest.raises(InvalidInput) as caught:
        result(llama, sae, HOOK, nothing, 100)
    assert caught.value.field == "corpus"


def test_a_model_with_nothing_to_predict_gives_no_number_rather_than_nonsense(llama, sae, contexts):
    lone = [contexts[0]._replace(token_ids=[0, 5, 0, 7])]
    values = result(llama, sae, HOOK, lone, 100).values
    assert "ce_original" not in values
    assert all(math.isfinite(value) for value in values.values())


def test_a_request_to_stop_is_heard_while_features_are_compared(llama, sae, contexts, monkeypatch):
    """A wide SAE takes an hour for it: a job that asked nobody meanwhile would be taken for one
    that hangs.
    """
    one_row_at_once = partial(weight_quality, block=len(sae.W_dec))
    monkeypatch.setattr("workers.pipeline.sae.evaluate.weight_quality", one_row_at_once)
    asked = []

    def stop_among_the_pairs():
        asked.append(len(asked))
        return len(asked) > 30

    records = list(evaluate(llama, sae, HOOK, contexts[:1], 10, stop_among_the_pairs))
    assert 30 < len(asked) < 100
    assert not any(isinstance(record, Evaluation) for record in records)
    assert records[-1] == LogLine("Stopped before the last number.")
