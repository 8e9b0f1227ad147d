"""Every hook that is offered is exact, in all decoder families that can be built small."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from features.records import InvalidInput
from tests.workers.families import FAMILIES, PAGE, SKIPPED, page, row_of, tiny_model
from workers.pipeline.dashboards.logit_lens import find_readout
from workers.pipeline.model.decoder import probe_ids
from workers.pipeline.model.head import find_head
from workers.pipeline.model.hooks import (
    MLP_IN,
    decoder_blocks,
    edit_hook,
    hook_names,
    hook_refusals,
    observe_hook,
    resolve_hook,
)

QUICK = (
    *("bloom", "cohere", "falcon", "gemma2", "gpt_neox", "gptj", "granite", "mamba", "olmo2"),
    *("opt", "phi3", "qwen3_next", "rwkv", "modernbert-decoder", "olmo"),
)
"""One of each kind: what the block returns, factors, norms after, parallel parts, no MLP module."""
EXACT = 1e-4
IDS = torch.randint(3, 29, (2, 9), generator=torch.Generator().manual_seed(1))
ATTN, MLP, Z = "hook_attn_out", "hook_mlp_out", "attn.hook_z"
every_family = pytest.mark.parametrize(
    "kind",
    [kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.full) for kind in FAMILIES],
)


def run(
    model: PreTrainedModel, hooks: Sequence[str], add: Mapping[str, Tensor] | None = None
) -> tuple[dict[str, Tensor], Tensor]:
    """Activations at `hooks` and the logits, with `add` added at other hooks."""
    seen: dict[str, Tensor] = {}
    with ExitStack() as stack:
        for hook, change in (add or {}).items():
            stack.enter_context(edit_hook(resolve_hook(model, hook), lambda x, c=change: x + c))
        for hook in hooks:
            stack.enter_context(
                observe_hook(
                    resolve_hook(model, hook), lambda x, hook=hook: seen.update({hook: x.clone()})
                )
            )
        logits = model(input_ids=IDS, use_cache=False).logits
    return seen, logits


def assert_exact(value: Tensor, right: Tensor, stream: Tensor) -> None:
    assert value.shape == right.shape
    assert float((value - right).abs().max() / stream.abs().max()) < EXACT


@every_family
def test_every_site_that_is_offered_is_exact(kind: str) -> None:
    model = tiny_model(kind)
    try:
        names = hook_names(model)
    except InvalidInput:  # the list says why
        return
    inputs = [hook for hook in _all(model, MLP_IN) if hook not in hook_refusals(model)]
    at, _ = run(model, [*names, *inputs])
    for hook in (*names, *inputs):
        assert at[hook].shape == (*IDS.shape, resolve_hook(model, hook).d_in)
    for layer in range(len(decoder_blocks(model))):
        pre, post = f"blocks.{layer}.hook_resid_pre", f"blocks.{layer}.hook_resid_post"
        _check_sum(model, layer, at)
        for site in (ATTN, MLP):
            if (hook := f"blocks.{layer}.{site}") in names:
                change = torch.randn(at[hook].shape) * at[hook].abs().mean()
                edited, _ = run(model, [pre, post, hook], {hook: change})
                assert_exact(edited[hook], at[hook] + change, at[post])
                if site == MLP:  # nothing in the block comes after it
                    assert_exact(edited[post], at[post] + change, at[post])
                sites = {f"blocks.{layer}.{other}" for other in (ATTN, MLP)} & set(names)
                again, _ = run(model, [pre, post, *sites], {hook: change})
                _check_sum(model, layer, again)
        if (hook := f"blocks.{layer}.{Z}") in names:
            _check_projection(model, hook, at[hook])
    for before, after in pairwise(range(len(decoder_blocks(model)))):
        here, there = f"blocks.{before}.hook_resid_post", f"blocks.{after}.hook_resid_pre"
        if here in names:
            assert torch.equal(at[here], at[there])
            change = torch.randn(at[here].shape) * at[here].abs().mean()
            logits = run(model, [], {here: change})[1], run(model, [], {there: change})[1]
            torch.testing.assert_close(*logits)


def _all(model: PreTrainedModel, site: str) -> list[str]:
    return [f"blocks.{layer}.{site}" for layer in range(len(decoder_blocks(model)))]


def _check_sum(model: PreTrainedModel, layer: int, at: Mapping[str, Tensor]) -> None:
    """resid_pre + attn_out + mlp_out = resid_post, where a block has both or its only part."""
    sites = {site: f"blocks.{layer}.{site}" for site in (ATTN, MLP)}
    refusals = hook_refusals(model)
    absent = {site for site, hook in sites.items() if "has no" in refusals.get(hook, "")}
    offered = {site for site, hook in sites.items() if hook not in refusals}
    if offered | absent == set(sites) and offered:
        post = at[f"blocks.{layer}.hook_resid_post"]
        parts = sum(at[sites[site]] for site in offered)
        assert_exact(at[f"blocks.{layer}.hook_resid_pre"] + parts, post, post)


def _check_projection(model: PreTrainedModel, hook: str, z: Tensor) -> None:
    """z through the output projection is what it returns, and edits of z go that way alone."""
    point, seen = resolve_hook(model, hook), {}
    handle = point.module.register_forward_hook(lambda _, __, out: seen.update(out=out.clone()))
    run(model, [])
    handle.remove()
    weight, bias = point.module.weight, point.module.bias
    if type(point.module).__name__ == "Conv1D":
        weight = weight.T
    out = z @ weight.T + (0 if bias is None else bias)
    assert_exact(out, seen["out"].reshape(out.shape), out)
    attention = resolve_hook(model, hook.replace(Z, ATTN))
    if "norm" not in type(attention.module).__name__.lower():
        here = run(model, [attention.name])[0][attention.name]
        assert_exact(out * point.factor, here, here)


@every_family
def test_logit_effects_are_the_derivative_of_the_models_own_head(kind: str) -> None:
    """At a residual that the direction is orthogonal to, so that no divisor changes; where the
    head is more than a norm, at the last residuals of the fixed tokens.
    """
    model = tiny_model(kind)
    try:
        head = find_head(model)
    except InvalidInput:  # the list says why
        return
    rows = len(model.get_output_embeddings().weight)
    readout = find_readout(model, torch.zeros(rows, dtype=torch.bool))
    generator, ids = torch.Generator().manual_seed(3), probe_ids(model)
    last = resolve_hook(model, f"blocks.{len(decoder_blocks(model)) - 1}.hook_resid_post")
    direction = torch.randn(last.d_in, generator=generator)
    residuals = torch.randn(last.d_in, generator=generator).expand(*ids.shape, -1)
    if head.derivative is None:
        stream = residuals[0, 0] - (residuals[0, 0].mean() if head.centred else 0)
        direction = direction - (direction.mean() if head.centred else 0)
        direction = direction - stream * (direction @ stream) / (stream @ stream)
    else:
        read: list[Tensor] = []
        with observe_hook(last, read.append):
            model(input_ids=ids, use_cache=False)
        (residuals,) = read

    def logits(step: float) -> Tensor:
        with edit_hook(last, lambda _: residuals + step * direction):
            return model(input_ids=ids, use_cache=False).logits.double()

    real = (logits(1e-3) - logits(-1e-3)) / 2e-3
    if cap := getattr(model.config.get_text_config(), "final_logit_softcapping", None):
        real = real / (1 - (logits(0) / cap) ** 2)  # a soft cap is left out by definition
    right, ours = real.mean((0, 1)), readout.logits(direction[None])[0].double()
    assert float(torch.cosine_similarity(right, ours, 0)) > 0.9999
    if head.derivative is None:  # our sizes are without the divisor
        has_norm = any("norm" in name.lower() for name in head.modules)
        size = stream.square().mean().sqrt() if has_norm else 1
        assert float(ours.norm() / right.norm() / size) == pytest.approx(1, rel=1e-2)


@pytest.mark.parametrize("kind", ["opt", "granite", "gemma2", "gpt_oss"])
def test_weights_in_half_precision_have_the_same_sites(kind: str) -> None:
    model = tiny_model(kind).to(torch.bfloat16)
    assert len(hook_names(model)) == 10
    assert not hook_refusals(model)


def test_the_list_of_families_is_that_of_transformers() -> None:
    text = PAGE.read_text()
    assert set(SKIPPED) <= set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    assert len(FAMILIES) >= 50
    for kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        assert f"| {kind} |" in text
    for kind in QUICK:
        assert row_of(kind) in text


@pytest.mark.full
def test_the_list_of_families_is_current() -> None:
    assert page() == PAGE.read_text(), "Run: python -m tests.workers.families"


@pytest.mark.parametrize(
    ("kind", "modules"),
    [
        ("bloom", ("self_attention.dense", "mlp.dense_4h_to_h", "self_attention.dense")),
        ("granite", ("self_attn", "mlp", "self_attn.o_proj")),
        ("phi3", ("self_attn", "mlp", "self_attn.o_proj")),
        ("opt", ("self_attn", "fc2", "self_attn.out_proj")),
        (
            "gemma2",
            ("post_attention_layernorm", "post_feedforward_layernorm", "self_attn.o_proj"),
        ),
    ],
)
def test_modules_are_found_by_what_they_compute(kind: str, modules: tuple[str, ...]) -> None:
    model = tiny_model(kind)
    points = [resolve_hook(model, f"blocks.1.{site}") for site in (ATTN, MLP, Z)]
    block = decoder_blocks(model)[1]
    assert [point.module for point in points] == [block.get_submodule(name) for name in modules]
    assert points[0].scale == points[1].scale == (0.22 if kind == "granite" else 1)
    assert points[2].d_in == 32
