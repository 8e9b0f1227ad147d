"""Hook points: TransformerLens names, resolved to plain Hugging Face modules.

The names are those of SAELens and Neuronpedia; the activations are those of the raw weights. With
`blocks` as the model's list of decoder blocks:

    blocks.{L}.hook_resid_pre     input of block L (== hook_resid_post of block L - 1)
    blocks.{L}.hook_resid_post    output of block L, before any final norm
    blocks.{L}.hook_attn_out      what attention adds to the residual stream
    blocks.{L}.hook_mlp_out       what the MLP adds to the residual stream
    blocks.{L}.attn.hook_z        input of attention's output projection, heads flattened

so that resid_post == resid_pre + attn_out + mlp_out. Where a norm or a factor stands between
attention or the MLP and the stream, the sites come after it (Gemma 2 and 3, OLMo 2, Granite). In
hybrid models "attention" is whatever mixes the tokens of a block: linear attention, a state-space
layer, a convolution. A site that a few tokens show to be inexact is refused; docs/models.md has the
families. One more hook is supported for transcoders only, because it is not part of the residual
stream:

    blocks.{L}.mlp.hook_in        input of the MLP, after its norm
"""

from collections.abc import Mapping

from torch import nn
from transformers import PreTrainedModel

from features.records import InvalidInput
from workers.pipeline.model.hook_point import Activation, Edit, HookPoint, edit_hook, observe_hook
from workers.pipeline.model.layers import MLP_IN, SITES
from workers.pipeline.model.sites import find_sites

__all__ = [
    "MLP_IN",
    "SITES",
    "Activation",
    "Edit",
    "HookPoint",
    "decoder_blocks",
    "edit_hook",
    "hook_names",
    "hook_refusals",
    "observe_hook",
    "resolve_hook",
]


def hook_names(model: PreTrainedModel) -> list[str]:
    """Return the names of all hooks that an SAE can be trained at, block by block.

    Raises `InvalidInput("source")` if the model has no list of decoder blocks.
    """
    sites = find_sites(model)
    names = (f"blocks.{layer}.{site}" for layer in range(len(sites.blocks)) for site in SITES)
    return [name for name in names if name in sites.points]


def hook_refusals(model: PreTrainedModel) -> Mapping[str, str]:
    """Return by name the hooks that `hook_names` lacks, and `mlp.hook_in` where it is lacking, each
    with the reason in a sentence.
    """
    return find_sites(model).refusals


def resolve_hook(model: PreTrainedModel, hook: str) -> HookPoint:
    """Return the hook point with a name such as `blocks.2.hook_resid_post`.

    Raises `InvalidInput("hook")` if the model has no such hook, with the reason where it is known.
    """
    sites = find_sites(model)
    if hook in sites.points:
        return sites.points[hook]
    names = hook_names(model)
    has = f"it has {names[0]} to {names[-1]}" if names else "it has none"
    known = f" {sites.refusals[hook]}" if hook in sites.refusals else ""
    raise InvalidInput("hook", f"{model.config.model_type} has no hook {hook!r}; {has}.{known}")


def decoder_blocks(model: PreTrainedModel) -> nn.ModuleList:
    """Return the list of the model's decoder blocks.

    Raises `InvalidInput("source")` if there is none.
    """
    return find_sites(model).blocks
