"""Hook points: the names people use, and the plain Hugging Face modules they stand for.

Names are TransformerLens names, as SAELens and Neuronpedia store them; values are those of the raw
weights. With `blocks` as the list of decoder blocks, found by its length:

    blocks.{L}.hook_resid_pre    input of block L                        (== hook_resid_post of
    block L - 1) blocks.{L}.hook_resid_post   output of block L, before any final norm
    blocks.{L}.hook_attn_out     what attention adds to the residual stream blocks.{L}.hook_mlp_out
    what the MLP adds to it blocks.{L}.attn.hook_z       input of attention's output projection,
    heads flattened

so that resid_post == resid_pre + attn_out + mlp_out in every family. Gemma 2 and 3 and OLMo 2
normalise after attention and MLP too; there the last two are read after that norm. One more is
understood but not offered, as only a transcoder can use it: it reads there what nothing writes to
the residual stream.

    blocks.{L}.mlp.hook_in       what the MLP reads, after its norm
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from features.records import InvalidInput

SITES = ("hook_resid_pre", "hook_resid_post", "hook_mlp_out", "hook_attn_out", "attn.hook_z")
MLP_IN = "mlp.hook_in"
NAME = re.compile(
    r"blocks\.(\d+)\.(" + "|".join(re.escape(site) for site in (*SITES, MLP_IN)) + ")"
)
NORMED_AFTER = {"post_attention_layernorm", "post_feedforward_layernorm"}
NORM = re.compile(r"norm|^ln_?\d|layernorm", re.IGNORECASE)

Activation = Float[Tensor, "batch pos d_in"]


@dataclass(frozen=True)
class HookPoint:
    """Where a hook reads: `module`'s input or output, `d_in` wide, in decoder block `layer`."""

    name: str
    layer: int
    module: nn.Module
    side: Literal["input", "output"]
    d_in: int


def hook_names(model: PreTrainedModel) -> list[str]:
    """Every hook that an SAE can stand at, block by block; `InvalidInput("source")` where the
    model's blocks cannot be told.
    """
    return [
        f"blocks.{layer}.{site}" for layer in range(len(decoder_blocks(model))) for site in SITES
    ]


def resolve_hook(model: PreTrainedModel, hook: str) -> HookPoint:
    """The module behind a hook name, such as `blocks.2.hook_resid_post`; `InvalidInput("hook")`
    where the model has no such hook.
    """
    match = NAME.fullmatch(hook)
    blocks = decoder_blocks(model)
    if match is None or int(match[1]) >= len(blocks):
        names = hook_names(model)
        raise InvalidInput(
            "hook",
            f"{model.config.model_type} has no hook {hook!r}; it has {names[0]} to {names[-1]}.",
        )
    block, d_model = blocks[int(match[1])], int(model.config.get_text_config().hidden_size)
    module, side = _site(block, match[2], d_model)
    width = _weight(module).numel() // d_model if match[2] == "attn.hook_z" else d_model
    return HookPoint(hook, int(match[1]), module, side, width)


def decoder_blocks(model: PreTrainedModel) -> nn.ModuleList:
    """The outermost module list that has one entry per layer, each with attention inside."""
    layers = model.config.get_text_config().num_hidden_layers
    for _, module in model.named_modules():  # outermost first
        if (
            isinstance(module, nn.ModuleList)
            and len(module) == layers
            and _child(module[0], "attn", "attention")
        ):
            return module
    raise InvalidInput(
        "source", f"{type(model).__name__} has no list of {layers} attention blocks to hook into."
    )


@contextmanager
def observe_hook(point: HookPoint, read: Callable[[Activation], None]) -> Iterator[None]:
    """Call `read` with the activation at `point` on every forward pass inside the block."""
    with edit_hook(point, read):
        yield


@contextmanager
def edit_hook(point: HookPoint, edit: Callable[[Activation], Activation | None]) -> Iterator[None]:
    """Inside the block, the model goes on with `edit(activation)` at `point` (None keeps the
    activation).
    """

    def before(
        _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Any, Any] | None:
        if args:
            changed = edit(args[0])
            return None if changed is None else ((changed, *args[1:]), kwargs)
        changed = edit(kwargs["hidden_states"])
        return None if changed is None else (args, kwargs | {"hidden_states": changed})

    def after(_: nn.Module, __: Any, output: Any) -> Any:
        if isinstance(output, Tensor):
            return edit(output)
        changed = edit(
            output[0]
        )  # blocks and attention of some families return (activation, weights, …)
        return None if changed is None else (changed, *output[1:])

    if point.side == "input":
        handle = point.module.register_forward_pre_hook(before, with_kwargs=True)
    else:
        handle = point.module.register_forward_hook(after)
    try:
        yield
    finally:
        handle.remove()


def _site(
    block: nn.Module, site: str, d_model: int
) -> tuple[nn.Module, Literal["input", "output"]]:
    if site == "hook_resid_pre":
        return block, "input"
    if site == "hook_resid_post":
        return block, "output"
    children = dict(block.named_children())
    normed_after = children if children.keys() >= NORMED_AFTER else {}
    if site == MLP_IN:
        return _mlp(block), "input"
    if site == "hook_mlp_out":
        return normed_after.get("post_feedforward_layernorm") or _mlp(block), "output"
    attention = _required(block, "attn", "attention")
    if site == "hook_attn_out":
        return normed_after.get("post_attention_layernorm") or attention, "output"
    return _output_projection(attention, d_model), "input"


def _output_projection(attention: nn.Module, d_model: int) -> nn.Module:
    """The last linear map inside attention: every family registers it after those of query, key and
    value.
    """
    linear = [
        module
        for module in attention.modules()
        if getattr(getattr(module, "weight", None), "ndim", 0) == 2
    ]
    if not linear or d_model not in _weight(linear[-1]).shape:
        raise InvalidInput(
            "hook", f"{type(attention).__name__} has no output projection to read hook_z from."
        )
    return linear[-1]


def _mlp(block: nn.Module) -> nn.Module:
    return _required(block, "mlp", "feed_forward", "ffn")


def _weight(module: nn.Module) -> Tensor:
    weight = module.weight
    assert isinstance(weight, Tensor)
    return weight


def _child(block: nn.Module, *names: str) -> nn.Module | None:
    for name, child in block.named_children():
        if (
            any(part in name.lower() for part in names)
            and not NORM.search(name)
            and any(True for _ in child.parameters())
        ):
            return child
    return None


def _required(block: nn.Module, *names: str) -> nn.Module:
    child = _child(block, *names)
    if child is None:
        raise InvalidInput("hook", f"{type(block).__name__} has no {names[0]} part to hook into.")
    return child
