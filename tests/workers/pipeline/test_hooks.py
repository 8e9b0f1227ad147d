"""Hook names mean the same place in every family: checked by adding the parts of the residual
stream up again.
"""

from contextlib import ExitStack

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    MistralConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
)

from features.records import InvalidInput
from workers.pipeline.model.hooks import SITES, edit_hook, hook_names, observe_hook, resolve_hook

IDS = torch.randint(1, 400, (2, 9), generator=torch.Generator().manual_seed(0))
FAMILIES = ["llama", "gpt2", "gpt_neox", "mistral", "qwen2", "qwen3", "gemma2", "gemma3"]
SIZE = {
    "vocab_size": 400,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "intermediate_size": 48,
    "pad_token_id": 0,
    "initializer_range": 0.2,
}
CONFIGS = {
    "mistral": MistralConfig,
    "qwen2": Qwen2Config,
    "qwen3": Qwen3Config,
    "gemma2": Gemma2Config,
    "gemma3": Gemma3TextConfig,
}


@pytest.fixture
def family(request, languages) -> PreTrainedModel:
    name = request.param
    if name in languages:
        return languages[name].model
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(CONFIGS[name](**SIZE)).eval().requires_grad_(False)


every_family = pytest.mark.parametrize("family", FAMILIES, indirect=True)


def activations(model: PreTrainedModel, hooks: list[str]) -> dict[str, torch.Tensor]:
    at_hooks: dict[str, torch.Tensor] = {}
    with ExitStack() as stack:
        for hook in hooks:
            stack.enter_context(
                observe_hook(
                    resolve_hook(model, hook),
                    lambda x, hook=hook: at_hooks.update({hook: x.clone()}),
                )
            )
        model(IDS)
    return at_hooks


@every_family
def test_the_residual_stream_is_what_the_hooks_add_to_it(family):
    at_hooks = activations(family, hook_names(family))
    for layer in range(3):
        at = {site: at_hooks[f"blocks.{layer}.{site}"] for site in SITES}
        total = at["hook_resid_pre"] + at["hook_attn_out"] + at["hook_mlp_out"]
        torch.testing.assert_close(total, at["hook_resid_post"], rtol=1e-5, atol=1e-5)
        assert at["hook_attn_out"].abs().mean() > 1e-3


@every_family
def test_resid_post_is_the_hidden_state_between_the_blocks(family):
    """`hidden_states[-1]` comes after the final norm, so only those between blocks are compared."""
    at_hooks = activations(family, hook_names(family))
    states = family(IDS, output_hidden_states=True).hidden_states
    for layer in range(2):
        torch.testing.assert_close(at_hooks[f"blocks.{layer}.hook_resid_post"], states[layer + 1])
        assert torch.equal(
            at_hooks[f"blocks.{layer}.hook_resid_post"],
            at_hooks[f"blocks.{layer + 1}.hook_resid_pre"],
        )


@every_family
def test_hook_z_times_the_output_projection_is_what_attention_gives(family):
    point = resolve_hook(family, "blocks.1.attn.hook_z")
    seen = {}
    with observe_hook(point, lambda z: seen.update(z=z.clone())):
        handle = point.module.register_forward_hook(
            lambda _, __, output: seen.update(out=output.clone())
        )
        family(IDS)
        handle.remove()
    assert seen["z"].shape == (2, 9, point.d_in)
    torch.testing.assert_close(point.module(seen["z"]), seen["out"])
    if family.config.model_type in ("llama", "gpt2", "gpt_neox"):
        whole = activations(family, ["blocks.1.hook_attn_out"])["blocks.1.hook_attn_out"]
        torch.testing.assert_close(seen["out"], whole)


@every_family
def test_the_mlp_makes_its_output_of_what_is_read_before_it(family):
    """`mlp.hook_in` comes after the norm: of the families that normalise no more after the MLP, the
    rest is `hook_mlp_out`.
    """
    point, seen = resolve_hook(family, "blocks.1.mlp.hook_in"), {}
    at_hooks = activations(family, ["blocks.1.mlp.hook_in", "blocks.1.hook_mlp_out"])
    handle = point.module.register_forward_hook(
        lambda _, __, output: seen.update(out=output.clone())
    )
    family(IDS)
    handle.remove()
    torch.testing.assert_close(point.module(at_hooks["blocks.1.mlp.hook_in"]), seen["out"])
    if not family.config.model_type.startswith("gemma"):
        torch.testing.assert_close(seen["out"], at_hooks["blocks.1.hook_mlp_out"])


@every_family
def test_widths_are_those_of_the_activations(family):
    at_hooks = activations(family, hook_names(family))
    assert {hook: x.shape[-1] for hook, x in at_hooks.items()} == {
        hook: resolve_hook(family, hook).d_in for hook in hook_names(family)
    }


@every_family
@pytest.mark.parametrize("site", SITES)
def test_editing_changes_what_the_model_goes_on_with(family, site):
    before = family(IDS).logits
    point = resolve_hook(family, f"blocks.1.{site}")
    with edit_hook(point, lambda x: x * 0):
        changed = family(IDS).logits
    assert not torch.allclose(before, changed)
    with edit_hook(point, lambda x: x.clone()):
        assert torch.equal(family(IDS).logits, before)
    assert torch.equal(family(IDS).logits, before)


def test_hooks_are_gone_even_after_an_error(llama):
    point = resolve_hook(llama.model, "blocks.1.hook_resid_post")

    def fail(x):
        raise RuntimeError("stop")

    before = list(point.module._forward_hooks)
    with pytest.raises(RuntimeError, match="stop"), observe_hook(point, fail):
        llama.model(IDS)
    assert list(point.module._forward_hooks) == before


@pytest.mark.parametrize(
    "hook",
    ["blocks.3.hook_resid_post", "blocks.1.hook_resid_mid", "model.layers.1", "", "blocks.x"],
)
def test_a_hook_that_the_model_lacks_is_refused_with_those_it_has(llama, hook):
    with pytest.raises(InvalidInput) as caught:
        resolve_hook(llama.model, hook)
    assert caught.value.field == "hook"
    assert "blocks.0.hook_resid_pre" in caught.value.message
    assert "blocks.2.attn.hook_z" in caught.value.message
