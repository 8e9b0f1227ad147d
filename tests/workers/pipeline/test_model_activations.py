"""Harvesting gives what `output_hidden_states` gives, and runs no block that it does not need."""

import pytest
import torch

from features.records import InvalidInput
from workers.pipeline.model.activations import activations_at
from workers.pipeline.model.hooks import hook_names

BATCHES = list(torch.randint(1, 350, (6, 20), generator=torch.Generator().manual_seed(1)).split(4))


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox"])
def test_activations_equal_the_reference_that_runs_the_whole_model(languages, family):
    language = languages[family]
    hooks = ["blocks.1.hook_resid_post", "blocks.0.hook_resid_post", "blocks.0.hook_resid_pre"]
    for ids, collected in zip(BATCHES, activations_at(language, hooks, BATCHES), strict=True):
        states = language.model(ids, output_hidden_states=True).hidden_states
        for hook, expected in zip(hooks, (states[2], states[1], states[0]), strict=True):
            assert torch.equal(collected[hook], expected)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox"])
def test_every_hook_comes_in_float32_and_together_equals_alone(languages, family):
    language = languages[family]
    names = hook_names(language.model)
    together = next(activations_at(language, names, BATCHES))
    assert sorted(together) == sorted(names)
    for name in names:
        alone = next(activations_at(language, [name], BATCHES))
        assert torch.equal(alone[name], together[name])
        assert alone[name].dtype == torch.float32
        assert alone[name].shape[:2] == (4, 20)


def test_blocks_behind_the_deepest_hook_do_not_run(llama):
    ran = []
    blocks = llama.model.model.layers
    handles = [blocks[n].register_forward_pre_hook(lambda *_, n=n: ran.append(n)) for n in range(3)]
    handles.append(llama.model.lm_head.register_forward_pre_hook(lambda *_: ran.append("head")))
    next(activations_at(llama, ["blocks.0.attn.hook_z", "blocks.1.hook_resid_post"], BATCHES))
    for handle in handles:
        handle.remove()
    assert ran == [0, 1]


def test_the_model_is_left_as_it_was(llama):
    before = llama.model(BATCHES[0]).logits
    list(activations_at(llama, ["blocks.1.hook_mlp_out"], BATCHES))
    assert torch.equal(llama.model(BATCHES[0]).logits, before)


def test_a_hook_named_twice_is_read_once(llama):
    collected = next(activations_at(llama, ["blocks.1.hook_resid_post"] * 2, BATCHES))
    assert list(collected) == ["blocks.1.hook_resid_post"]


def test_an_unknown_hook_is_refused_before_anything_runs(llama):
    with pytest.raises(InvalidInput) as caught:
        next(activations_at(llama, ["blocks.9.hook_resid_post"], BATCHES))
    assert caught.value.field == "hook"
