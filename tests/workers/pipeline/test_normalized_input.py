"""A transcoder that reads `ln2.hook_normalized` computes the same from the MLP's input."""

import copy

import pytest
import torch
from sae_lens.registry import get_sae_class
from transformers import Gemma2Config, Gemma2ForCausalLM

from features.records import InvalidInput
from workers.pipeline.model.hooks import observe_hook, resolve_hook
from workers.pipeline.model.language import Language
from workers.pipeline.sae.claims import choose_hook, parse_claims
from workers.pipeline.sae.io import load_sae
from workers.pipeline.sae.normalized_input import fold_norm_gain

NORMALIZED, READS = "blocks.1.ln2.hook_normalized", "blocks.1.mlp.hook_in"

NORMS = {
    "gpt2": "transformer.h.1.ln_2",
    "llama": "model.layers.1.post_attention_layernorm",
    "gemma2": "model.layers.1.pre_feedforward_layernorm",
}


def with_gains(language: Language) -> Language:
    """The model with other gains and biases in every norm."""
    model = copy.deepcopy(language.model)
    generator = torch.Generator().manual_seed(3)
    for name, parameter in model.named_parameters():
        if "norm" in name or "ln_" in name:
            parameter.data += torch.randn(parameter.shape, generator=generator) * 0.3
    return Language(model, language.tokenizer, language.device, language.special_ids, "gains")


def gemma_2(like: Language) -> Language:
    """A tiny Gemma 2, whose norms multiply by one more than their weight."""
    size = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "head_dim": 8}
    config = Gemma2Config(**size, num_attention_heads=4, num_key_value_heads=4, vocab_size=400)
    model = Gemma2ForCausalLM(config).eval().requires_grad_(False)
    return Language(model, like.tokenizer, like.device, like.special_ids, "gemma2")


@pytest.mark.parametrize("architecture", ["transcoder", "jumprelu_skip_transcoder"])
@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2"])
def test_the_gain_of_the_norm_is_folded_into_the_encoder(family, architecture, languages, tmp_path):
    language = with_gains(languages.get(family) or gemma_2(languages["llama"]))
    cls, config = get_sae_class(architecture)
    sae = cls(config(d_in=32, d_sae=48, d_out=32, apply_b_dec_to_input=False))
    sae.cfg.metadata.hook_name = NORMALIZED
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.copy_(torch.randn_like(parameter) / 3)
    sae.save_model(tmp_path)
    norm = language.model.get_submodule(NORMS[family])
    point, seen = resolve_hook(language.model, READS), list[torch.Tensor]()
    handle = norm.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with observe_hook(point, seen.append):
        language.model(torch.tensor([[5, 6, 7, 8]]))
    handle.remove()
    before, mlp_input = seen
    centred = before - before.mean(-1, keepdim=True) if family == "gpt2" else before
    n = centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt()
    assert choose_hook(language.model, parse_claims(sae), "") == READS
    expected = load_sae(str(tmp_path))(n)
    assert "divided by the gain" in fold_norm_gain(language, tmp_path, NORMALIZED)
    torch.testing.assert_close(load_sae(str(tmp_path))(mlp_input), expected, atol=2e-3, rtol=1e-3)


def test_an_sae_that_is_no_transcoder_is_refused_there(llama, tmp_path):
    cls, config = get_sae_class("standard")
    cls(config(d_in=32, d_sae=48)).save_model(tmp_path)
    with pytest.raises(InvalidInput, match="no transcoder"):
        fold_norm_gain(llama, tmp_path, NORMALIZED)
