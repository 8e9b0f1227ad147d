"""Models with a recurrent state beside or instead of keys and values: the text steered with their
cache is the text without one, or the model is named.
"""

import dataclasses

import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from features.records import InvalidInput
from tests.workers import planted_sae, steering_model
from workers.pipeline.steering.generate import Step, decode
from workers.pipeline.steering.interventions import FeatureIntervention
from workers.pipeline.steering.measurements import MeasuredFeature, Measurements, new_cache
from workers.pipeline.steering.sampling import Sampling
from workers.pipeline.steering.text_activations import Lens

BASE = {
    "vocab_size": 400, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "intermediate_size": 64, "bos_token_id": 0, "eos_token_id": 0,
    "pad_token_id": 0, "initializer_range": 0.2,
}  # fmt: skip
LINEAR = {
    "head_dim": 16, "linear_num_value_heads": 4, "linear_num_key_heads": 2,
    "linear_key_head_dim": 8, "linear_value_head_dim": 8,
}  # fmt: skip
MOE = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
SIZES = {
    "qwen3_next": {**BASE, **LINEAR, **MOE, "shared_expert_intermediate_size": 16},
    "qwen3_5_text": {**BASE, **LINEAR},
    "mamba": {**BASE, "state_size": 8, "use_mambapy": False},
    "falcon_h1": {**BASE, "mamba_d_ssm": 64, "mamba_n_heads": 4, "mamba_d_head": 16,
                  "mamba_d_state": 8, "mamba_n_groups": 1},
    "jamba": {**BASE, "attn_layer_period": 2, "attn_layer_offset": 1, "num_experts": 2,
              "expert_layer_period": 2, "expert_layer_offset": 1, "mamba_d_state": 8,
              "mamba_dt_rank": 4, "use_mamba_kernels": False},
    "lfm2": {**BASE, "layer_types": ["conv", "full_attention", "conv", "full_attention"]},
    "gemma3_text": {**BASE, "head_dim": 8, "sliding_window": 4},
}  # fmt: skip
HOOK = "blocks.1.hook_resid_post"


def language_of(llama, family):
    torch.manual_seed(0)
    config = CONFIG_MAPPING[family](**SIZES[family])
    model = AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)
    return dataclasses.replace(llama, model=model)


@pytest.mark.parametrize("family", SIZES)
def test_text_steered_with_the_cache_is_the_text_without(llama, family):
    language = language_of(llama, family)
    lens = Lens(planted_sae.sae("standard"), HOOK, True)
    ids = language.tokenizer("def cat(self): return", add_special_tokens=False)["input_ids"]
    prompt = [0, *ids]
    intervention = FeatureIntervention(lens, 7, "add", 2.0, "maximum", 3.0)
    watched = MeasuredFeature(lens, 7, [5])
    records = list(
        decode(language, [[intervention]], prompt, sampling=Sampling(8), features=[watched])
    )
    steps = [record for record in records if isinstance(record, Step)]
    expected, logits = steering_model.greedy(language, intervention, prompt, length=8)
    assert [step.ids[1] for step in steps if step.ids[1] is not None] == expected
    with torch.no_grad():
        whole = language.model(input_ids=torch.tensor([prompt + expected]), use_cache=False)
    q = whole.logits[0, len(prompt) - 1 : -1].log_softmax(-1)
    p = torch.stack(logits).log_softmax(-1)
    kl = (p.exp() * (p - q)).sum(-1).tolist()
    measured = [r for r in records if isinstance(r, Measurements) and r.start >= 0]
    assert [x for r in measured for x in r.kl[1]] == pytest.approx(kl, rel=1e-3, abs=1e-4)


def test_a_model_that_keeps_its_state_inside_itself_is_named(llama):
    inner = llama.model

    class Stateful(type(inner)):
        def forward(self, input_ids, use_cache=None, **kwargs):
            return super().forward(input_ids, **kwargs)

    model = Stateful(inner.config)
    model.load_state_dict(inner.state_dict())
    language = dataclasses.replace(llama, model=model.eval())
    lens = Lens(planted_sae.sae("standard"), HOOK, True)
    intervention = FeatureIntervention(lens, 7, "add", 2.0, "maximum", 3.0)
    with pytest.raises(InvalidInput, match="Stateful keeps the state of a text inside itself"):
        list(decode(language, [[intervention]], [0, 5, 6], sampling=Sampling(4)))


@pytest.mark.parametrize("family", ["xlstm", "minimax", "recurrent_gemma", "rwkv"])
def test_families_with_a_cache_of_their_own_are_named(llama, family):
    model = type("Own", (), {"forward": type(llama.model).forward})()
    model.config = CONFIG_MAPPING[family]()
    with pytest.raises(InvalidInput, match="Own keeps the state of a text inside itself"):
        new_cache(dataclasses.replace(llama, model=model))
