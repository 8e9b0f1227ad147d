"""Transcoders that read `ln2.hook_normalized`, as TransformerLens calls the input of the MLP before
the gain g and bias c of its norm.

We have the MLP's input itself, m = g n + c, as `mlp.hook_in`. So the encoder is rewritten to read m
and compute what it did on n: W_enc / g, and b_enc - (c / g) W_enc; a skip connection likewise.
"""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from features.records import InvalidInput
from workers.pipeline.model.hooks import MLP_IN, decoder_blocks, observe_hook, resolve_hook
from workers.pipeline.model.language import Language
from workers.pipeline.sae.folder import WEIGHTS
from workers.pipeline.sae.setting_values import CONFIG

NAME = re.compile(r"blocks\.(\d+)\.ln2\.hook_normalized")
TOLERANCE = 1e-4
EPSILONS = ("eps", "variance_epsilon", "epsilon", "norm_eps")


def mlp_input_of(hook: str) -> str:
    """Return our name for the MLP's input if `hook` is that input without gain; else empty."""
    match = NAME.fullmatch(hook)
    return f"blocks.{match[1]}.{MLP_IN}" if match else ""


def fold_norm_gain(language: Language, folder: Path, hook: str) -> str:
    """Rewrite the transcoder in `folder` to read `mlp_input_of(hook)`; return a note about it.

    Raises `InvalidInput("hook")` if it is no transcoder, or if the model's norm before the MLP is
    not g n + c with n the input centred or not, and divided by its root mean square.
    """
    reads = mlp_input_of(hook)
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    if "transcoder" not in config.get("architecture", ""):
        raise InvalidInput(
            "hook", f"An SAE that reads {hook} and is no transcoder has no use here."
        )
    if config.get("normalize_activations") not in (None, "none", False):
        raise InvalidInput("hook", f"{hook} is normalized already, but {CONFIG} normalizes again.")
    gain, bias = _norm_before(language, reads)
    weights = {name: tensor.float() for name, tensor in load_file(folder / WEIGHTS).items()}
    if (gain - 1).abs().max() < 1e-6 and bias.abs().max() < 1e-6:
        return f"It reads {hook}, which is {reads} here: the norm has no gain."
    weights["W_enc"] = weights["W_enc"] / gain[:, None]
    weights["b_enc"] = weights["b_enc"] - bias @ weights["W_enc"]
    if "W_skip" in weights:
        weights["W_skip"] = weights["W_skip"] / gain
        weights["b_dec"] = weights["b_dec"] - weights["W_skip"] @ bias
    _write(folder, config, weights, reads)
    return (
        f"It reads {hook}, before the norm's gain: its encoder was divided by the gain, so that it "
        f"computes the same from {reads}."
    )


def _write(folder: Path, config: dict[str, Any], weights: dict[str, Tensor], reads: str) -> None:
    owner = config if "hook_name" in config else config.setdefault("metadata", {})
    owner["hook_name"] = reads
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(config))


@torch.no_grad()
def _norm_before(language: Language, hook: str) -> tuple[Float[Tensor, " d"], Float[Tensor, " d"]]:
    """The gain and bias of the norm whose output is the activation at `hook`, in float32."""
    point = resolve_hook(language.model, hook)
    read: list[Tensor] = []
    calls: list[tuple[nn.Module, Tensor, Tensor]] = []

    def record(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if args and isinstance(args[0], Tensor) and isinstance(output, Tensor):
            calls.append((module, args[0], output))

    with ExitStack() as stack:
        stack.enter_context(observe_hook(point, read.append))
        for module in decoder_blocks(language.model)[point.layer].modules():
            if isinstance(getattr(module, "weight", None), Tensor) and module.weight.ndim == 1:
                stack.callback(module.register_forward_hook(record).remove)
        language.model(torch.tensor([[1, 2, 3, 4]], device=language.device))
    for module, before, after in calls:
        if after.shape == read[0].shape and torch.equal(after, read[0]):
            for gain, bias in _affine_maps(module, before, after):
                return gain.cpu(), bias.cpu()
    raise InvalidInput(
        "hook",
        f"This model's norm before {hook} is of a kind whose gain is not known, so an SAE of "
        "ln2.hook_normalized cannot be read.",
    )


def _affine_maps(
    module: nn.Module, before: Tensor, after: Tensor
) -> Iterator[tuple[Float[Tensor, " d"], Float[Tensor, " d"]]]:
    """Yield each gain and bias that make `after` of `before`, without zero gains."""
    x, y = before.float(), after.float()
    epsilon = next((float(getattr(module, name)) for name in EPSILONS if hasattr(module, name)), 0)
    weight = module.weight.detach().float()  # type: ignore[operator]
    bias = getattr(module, "bias", None)
    shift = torch.zeros_like(weight) if bias is None else bias.detach().float()
    for centred in (True, False):
        z = x - x.mean(-1, keepdim=True) if centred else x
        n = z / (z.pow(2).mean(-1, keepdim=True) + epsilon).sqrt()
        for gain in (weight, 1 + weight):
            error = (n * gain + shift - y).abs().max()
            if error < TOLERANCE * y.abs().max() and (gain != 0).all():
                yield gain, shift
