"""Logit effects go through each family's own final norm and unembedding."""

import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from features.records import InvalidInput
from tests.workers import planted_sae
from workers.pipeline.dashboards import logit_lens
from workers.pipeline.dashboards.logit_lens import (
    find_readout,
    masked_tokens,
    readout_record,
    to_residual,
)
from workers.pipeline.model.language import Language

SHAPES = {
    "llama": {"intermediate_size": 32, "num_key_value_heads": 2},
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2},
    "gpt_neox": {"intermediate_size": 32},
    "gemma2": {"intermediate_size": 32, "num_key_value_heads": 2, "head_dim": 4},
    "qwen2": {"intermediate_size": 32, "num_key_value_heads": 2},
    "opt": {"ffn_dim": 32, "word_embed_proj_dim": 16},
}
NOTHING = torch.zeros(30, dtype=torch.bool)


def model_of(family: str) -> PreTrainedModel:
    torch.manual_seed(0)
    sizes = {
        "vocab_size": 30,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        **SHAPES[family],
    }
    config = AutoConfig.for_model(
        family, **sizes, max_position_embeddings=32, pad_token_id=0, bos_token_id=0, eos_token_id=0
    )
    model = AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1 and "bias" not in name:
            parameter.uniform_(0.2, 2.0)
        elif parameter.ndim == 1:
            parameter.normal_()
    return model


def test_gains_are_read_as_each_family_means_them() -> None:
    llama, gemma, gpt2 = (model_of(family) for family in ("llama", "gemma2", "gpt2"))
    torch.testing.assert_close(find_readout(llama, NOTHING).gain, llama.model.norm.weight)
    torch.testing.assert_close(find_readout(gemma, NOTHING).gain, 1 + gemma.model.norm.weight)
    torch.testing.assert_close(find_readout(gpt2, NOTHING).gain, gpt2.transformer.ln_f.weight)
    assert [find_readout(model, NOTHING).centred for model in (llama, gemma, gpt2)] == [
        False,
        False,
        True,
    ]


def test_centring_is_part_of_the_effect_where_the_norm_centres() -> None:
    out = find_readout(model_of("gpt2"), NOTHING)
    torch.testing.assert_close(
        out.logits(torch.full((1, 16), 7.0)), torch.zeros(1, 30), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("block", [1, 64, 10**6])
def test_tables_show_both_ends_and_count_the_whole_vocabulary(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logit_lens, "BLOCK", block)
    masked = NOTHING.clone()
    masked[[3, 8, 29]] = True
    out, directions = find_readout(model_of("llama"), masked), torch.randn(7, 16)
    effects = (directions * out.gain) @ out.unembedding.T
    table = out.table(directions, 5)
    for i in range(7):
        ranked = sorted(
            (float(effects[i, token]), token) for token in range(30) if not masked[token]
        )
        assert table.bottom_ids[i].tolist() == [token for _, token in ranked[:5]]
        assert table.top_ids[i].tolist() == [token for _, token in ranked[:-6:-1]]
        low, high = ranked[0][0], ranked[-1][0]
        assert (float(table.low[i]), float(table.high[i])) == pytest.approx((low, high), abs=1e-5)
        assert int(table.histogram[i].sum()) == 27
        assert int(table.histogram[i, 0]) >= 1
        assert int(table.histogram[i, -1]) >= 1


def test_a_direction_without_effect_fills_one_bin() -> None:
    table = find_readout(model_of("llama"), NOTHING).table(torch.zeros(1, 16), 50)
    assert table.histogram[0].tolist() == [30] + [0] * 49
    assert table.top_ids.shape == (1, 30)


def test_special_unused_and_fallback_rows_are_masked() -> None:
    masked = masked_tokens(planted_sae.language())
    assert masked.nonzero()[:, 0].tolist() == [0, 1, 2, 3, 60, 61, 62, 63]


def test_the_record_counts_masked_rows_by_reason_and_names_the_norm() -> None:
    language = planted_sae.language()
    lens = find_readout(language.model, masked_tokens(language))
    record = readout_record(language, "blocks.0.hook_resid_post")
    assert (record.rows, record.special, record.unused, record.fallback) == (64, 2, 5, 1)
    assert record.rows - len(lens.unmasked) == record.special + record.unused + record.fallback
    assert (record.norm, record.centred, record.through) == ("LlamaRMSNorm", False, "")
    assert (record.gain_low, record.gain_high) == (float(lens.gain.min()), float(lens.gain.max()))
    assert (
        readout_record(language, "blocks.0.attn.hook_z").through == "attention's output projection"
    )


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("<0xE2>", True),
        ("<unused12>", True),
        ("[unused3]", True),
        ("<|reserved_special_token_9|>", True),
        ("<extra_id_1>", True),
        ("unused", False),
        ("<div>", False),
        ("[0]", False),
        (" pad", False),
        ("<0x>", False),
    ],
)
def test_placeholders_are_told_from_text(text: str, hidden: bool) -> None:
    vocabulary = Tokenizer(models.WordLevel({"a": 0, text: 1}, unk_token="a"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=vocabulary)
    language = Language(
        model_of("llama"), tokenizer, torch.device("cpu"), torch.tensor([], dtype=torch.int64), ""
    )
    assert masked_tokens(language)[:2].tolist() == [False, hidden]


def test_a_direction_at_hook_z_goes_through_the_gain_of_a_norm_after_attention() -> None:
    model, decoder = model_of("gemma2"), torch.randn(4, 16)
    directions = to_residual(model, decoder[:, :8], "blocks.1.attn.hook_z")
    layer = model.model.layers[1]
    gain = 1 + layer.post_attention_layernorm.weight
    expected = (decoder[:, :8] @ layer.self_attn.o_proj.weight.T) * gain
    torch.testing.assert_close(directions, expected)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_direction_at_hook_z_goes_through_the_output_projection(family: str) -> None:
    model, decoder = model_of(family), torch.randn(4, 16)
    attention = (
        model.model.layers[1].self_attn.o_proj
        if family == "llama"
        else model.transformer.h[1].attn.c_proj
    )
    expected = attention(decoder) - attention(torch.zeros(1, 16))
    torch.testing.assert_close(to_residual(model, decoder, "blocks.1.attn.hook_z"), expected)
    assert torch.equal(to_residual(model, decoder, "blocks.1.hook_resid_post"), decoder)


def test_a_decoder_of_another_width_is_refused() -> None:
    with pytest.raises(InvalidInput, match="writes 9 dimensions"):
        to_residual(model_of("llama"), torch.ones(2, 9), "blocks.1.hook_resid_post")


def test_a_vocabulary_that_is_all_masked_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no logits to show"):
        find_readout(model_of("llama"), ~NOTHING)
