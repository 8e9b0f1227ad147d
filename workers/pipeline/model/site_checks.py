"""Read and edit activations on a few tokens, to see whether hook points are what they should be.

In every pass each block is given the input that it had in the first one, so that an edit in one
block does not change what the next one works on.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from workers.pipeline.model.decoder import run
from workers.pipeline.model.hook_point import Activation, HookPoint, edit_hook, observe_hook

EXACT = 1e-4
"""Largest error of a site, as a share of the largest entry of the token's residual stream."""
ROUNDING = 8
"""Steps of rounding that an error may have where weights are in half precision."""


class SiteChecks:
    """Forward passes of `model` over `ids` that read and edit hook points."""

    def __init__(self, model: PreTrainedModel, ids: Int64[Tensor, "batch pos"]) -> None:
        self.model, self.ids = model, ids
        self.tolerance = max(EXACT, ROUNDING * torch.finfo(model.dtype).eps)
        self.rounding = max(EXACT / 10, 2 * torch.finfo(model.dtype).eps)
        self._random = torch.Generator().manual_seed(0)

    @torch.no_grad()
    def read(
        self, points: Iterable[HookPoint], edits: Mapping[HookPoint, Activation]
    ) -> dict[str, Activation]:
        """Return the activations at `points` in float32, by name, while `edits` replace others."""
        activations: dict[str, Activation] = {}

        def note(name: str, activation: Activation) -> None:
            activations[name] = activation.float()

        with ExitStack() as stack:
            for point, activation in edits.items():
                stack.enter_context(edit_hook(point, partial(_replace, activation)))
            for point in points:
                stack.enter_context(observe_hook(point, partial(note, point.name)))
            run(self.model, self.ids)
        return activations

    def nudged(self, activation: Activation) -> Activation:
        """Return the activation with noise as large as itself added."""
        noise = torch.randn(activation.shape, generator=self._random).to(activation.device)
        return activation + noise * activation.abs().mean().clamp(min=1e-3)

    def nudged_past(self, activation: Activation) -> Activation:
        """Return the same, with the last token as it was."""
        nudged = self.nudged(activation)
        nudged[:, -1] = activation[:, -1]
        return nudged

    def error(self, value: Activation, right: Activation, stream: Activation) -> float:
        """Return the largest error of `value` as a share of the largest entry of its token's
        `stream`; infinite if it is no number.
        """
        largest = stream.abs().amax(-1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
        error = ((value - right).abs() / largest).max().item()
        return error if error == error else float("inf")

    def differs(self, value: Activation, other: Activation) -> bool:
        """Whether two activations differ by more than rounding."""
        return self.change(value, other) > self.rounding

    def change(self, value: Activation, other: Activation) -> float:
        """Return the median over entries of their change, as a share of each: the largest entries
        of a stream would hide the others.
        """
        tiny = torch.finfo(torch.float32).tiny
        return ((value - other).abs() / other.abs().clamp(min=tiny)).median().item()


def sum_of(terms: Sequence[Activation]) -> Activation:
    """Return the sum of activations."""
    return torch.stack(list(terms)).sum(0)


def matrix_of(module: nn.Module) -> Float[Tensor, "out in"]:
    """Return the matrix of a linear map, in float32; GPT-2's Conv1D stores it as [in, out]."""
    weight = module.weight
    assert isinstance(weight, Tensor)
    return (weight.T if isinstance(module, Conv1D) else weight).float()


def project(module: nn.Module, z: Activation) -> Activation:
    """Return what a linear map makes of z, from its weight and bias."""
    out = z @ matrix_of(module).T
    return out if module.bias is None else out + module.bias.float()  # type: ignore[operator]


def _replace(by: Activation, activation: Activation) -> Activation:
    return by.to(activation.dtype, copy=True)  # Falcon adds to it in place
