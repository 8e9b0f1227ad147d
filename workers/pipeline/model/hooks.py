"""Hook points: TransformerLens names, resolved to plain Hugging Face modules.

The names are those of SAELens and Neuronpedia; the activations are those of the raw weights. With
`blocks` as the model's list of decoder blocks:

    blocks.{L}.hook_resid_pre     input of block L (== hook_resid_post of block L - 1)
    blocks.{L}.hook_resid_post    output of block L, before any final norm
    blocks.{L}.hook_attn_out      what attention adds to the residual stream
    blocks.{L}.hook_mlp_out       what the MLP adds to the residual stream
    blocks.{L}.attn.hook_z        input of attention's output projection, heads flattened

so that resid_post == resid_pre + attn_out + mlp_out in every family. Gemma 2 and 3 and OLMo 2 have
a norm after attention and after the MLP; hook_attn_out and hook_mlp_out are the outputs of that
norm. One more hook is supported for transcoders only, because it is not part of the residual
stream:

    blocks.{L}.mlp.hook_in        input of the MLP, after its norm
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
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
NORMS_AFTER = {"post_attention_layernorm", "post_feedforward_layernorm"}
NORM = re.compile(r"norm|^ln_?\d|layernorm", re.IGNORECASE)

Activation = Float[Tensor, "batch pos d_in"]
Edit = Callable[[Activation], Activation | None]


@dataclass(frozen=True)
class HookPoint:
    """The input or output of `module` in decoder block `layer`, an activation of width `d_in`."""

    name: str
    layer: int
    module: nn.Module
    side: Literal["input", "output"]
    d_in: int


def hook_names(model: PreTrainedModel) -> list[str]:
    """Return the names of all hooks that an SAE can be trained at, block by block.

    Raises `InvalidInput("source")` if the model has no list of decoder blocks.
    """
    return [
        f"blocks.{layer}.{site}" for layer in range(len(decoder_blocks(model))) for site in SITES
    ]


def resolve_hook(model: PreTrainedModel, hook: str) -> HookPoint:
    """Return the hook point with a name such as `blocks.2.hook_resid_post`.

    Raises `InvalidInput("hook")` if the model has no such hook.
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
    module, side = _module_of_site(block, match[2], d_model)
    width = _weight(module).numel() // d_model if match[2] == "attn.hook_z" else d_model
    return HookPoint(hook, int(match[1]), module, side, width)


def decoder_blocks(model: PreTrainedModel) -> nn.ModuleList:
    """Return the outermost module list that has one entry per layer, each with attention.

    Raises `InvalidInput("source")` if there is none.
    """
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
def observe_hook(point: HookPoint, callback: Callable[[Activation], None]) -> Iterator[None]:
    """Context manager that calls `callback` with the activation at `point` in every forward pass.

    The activation has shape [batch, pos, d_in], the model's dtype and its device.
    """
    with edit_hook(point, callback):
        yield


@contextmanager
def edit_hook(point: HookPoint, edit: Edit) -> Iterator[None]:
    """Context manager that replaces the activation at `point` by `edit(activation)`.

    If `edit` returns None, the activation is left as it is. Shapes are as in `observe_hook`.
    """
    if point.side == "input":
        handle = point.module.register_forward_pre_hook(
            partial(_edit_input, edit), with_kwargs=True
        )
    else:
        handle = point.module.register_forward_hook(partial(_edit_output, edit))
    try:
        yield
    finally:
        handle.remove()


def _edit_input(
    edit: Edit, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, Any] | None:
    """A forward pre-hook. The activation is the first argument or `hidden_states`."""
    if args:
        edited = edit(args[0])
        return None if edited is None else ((edited, *args[1:]), kwargs)
    edited = edit(kwargs["hidden_states"])
    return None if edited is None else (args, kwargs | {"hidden_states": edited})


def _edit_output(edit: Edit, _module: nn.Module, _args: Any, output: Any) -> Any:
    """A forward hook. Blocks and attention of some families return (activation, weights, …)."""
    if isinstance(output, Tensor):
        return edit(output)
    edited = edit(output[0])
    return None if edited is None else (edited, *output[1:])


def _module_of_site(
    block: nn.Module, site: str, d_model: int
) -> tuple[nn.Module, Literal["input", "output"]]:
    if site == "hook_resid_pre":
        return block, "input"
    if site == "hook_resid_post":
        return block, "output"
    if site == MLP_IN:
        return _mlp(block), "input"
    children = dict(block.named_children())
    norms_after = children if children.keys() >= NORMS_AFTER else {}
    if site == "hook_mlp_out":
        return norms_after.get("post_feedforward_layernorm") or _mlp(block), "output"
    attention = _required_child(block, "attn", "attention")
    if site == "hook_attn_out":
        return norms_after.get("post_attention_layernorm") or attention, "output"
    return _output_projection(attention, d_model), "input"


def _output_projection(attention: nn.Module, d_model: int) -> nn.Module:
    """The last linear map of attention: every family registers it after query, key and value."""
    linear_maps = [
        module
        for module in attention.modules()
        if getattr(getattr(module, "weight", None), "ndim", 0) == 2
    ]
    if not linear_maps or d_model not in _weight(linear_maps[-1]).shape:
        message = f"{type(attention).__name__} has no output projection to read hook_z from."
        raise InvalidInput("hook", message)
    return linear_maps[-1]


def _mlp(block: nn.Module) -> nn.Module:
    return _required_child(block, "mlp", "feed_forward", "ffn")


def _weight(module: nn.Module) -> Tensor:
    weight = module.weight
    assert isinstance(weight, Tensor)
    return weight


def _child(block: nn.Module, *name_parts: str) -> nn.Module | None:
    """The first child with parameters whose name contains one of `name_parts` and is no norm."""
    for name, child in block.named_children():
        matches = any(part in name.lower() for part in name_parts) and not NORM.search(name)
        if matches and any(True for _ in child.parameters()):
            return child
    return None


def _required_child(block: nn.Module, *name_parts: str) -> nn.Module:
    child = _child(block, *name_parts)
    if child is None:
        message = f"{type(block).__name__} has no {name_parts[0]} part to hook into."
        raise InvalidInput("hook", message)
    return child
