"""What a model does to its residual stream before the unembedding, measured rather than read from
its modules' names.

In nearly all families the unembedding reads `gain * c(x) / size(x) + bias`, where c subtracts the
mean or nothing, and size is the root mean square, or 1 without a norm. The gain is then fitted on
random residuals. Any other head (ModernBERT's dense layer and activation) has no such form: its
derivative is taken instead, the mean over the last residuals of 14 fixed tokens.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from transformers import PreTrainedModel

from features.records import InvalidInput
from workers.pipeline.model.decoder import probe_ids, run
from workers.pipeline.model.hook_point import edit_hook, input_activation, observe_hook
from workers.pipeline.model.layers import RESID_POST
from workers.pipeline.model.sites import find_sites

COPIES = 8
"""Times the fixed tokens are repeated, for as many random residuals."""
FITS = 1e-3
"""Largest error of a fit, as a share of the largest value."""
SMALL = 0.1
"""Share of the logits, the smallest, whose slope is the scale: a soft cap leaves them alone."""


class Head(NamedTuple):
    """How directions of the residual stream change what the unembedding reads: `gain` times the
    direction, `centred` first or not; or, where that is not its form, `derivative` times it.

    `scale` is what the model multiplies logits by. `modules` are the classes of what runs between
    the last block and the unembedding.
    """

    gain: Float[Tensor, " d_model"]
    centred: bool
    derivative: Float[Tensor, "d_read d_model"] | None
    scale: float
    modules: tuple[str, ...]


class _Reached(Exception):
    """The unembedding was reached: what it would compute is not needed."""


def find_head(model: PreTrainedModel) -> Head:
    """Measure what stands between the last block and the unembedding.

    Raises `InvalidInput("model")` if the model has no unembedding, or the last block returns no
    residual stream.
    """
    return _Probe(model).head()


class _Probe:
    """Forward passes whose last residuals are replaced."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model, self.name = model, type(model).__name__
        sites = find_sites(model)
        last = sites.points.get(f"blocks.{len(sites.blocks) - 1}.{RESID_POST}")
        self.block = sites.blocks[-1]
        self.unembedding = model.get_output_embeddings()
        if self.unembedding is None or last is None:
            what = "unembedding" if self.unembedding is None else "residual stream"
            raise InvalidInput(
                "model", f"{self.name} has no {what}, so its features have no logits."
            )
        self.last = last
        self.ids = probe_ids(model).repeat(COPIES, 1)

    def head(self) -> Head:
        after = self._modules_after_blocks()
        names = tuple(type(module).__name__ for module in after)
        random = torch.Generator().manual_seed(0)
        x = torch.randn(*self.ids.shape, self.last.d_in, generator=random) * 1000
        x = x.to(self.model.device)
        with _in_float32(after):
            read = self.read(self.ids, x)
            scale = self._scale(x)
            fit = _fit(x.flatten(0, 1), read.flatten(0, 1))
            if fit:
                return Head(*fit, None, scale, names)
            ones = torch.ones(self.last.d_in, device=x.device)
            return Head(ones, False, self._derivative(), scale, names)

    @torch.no_grad()
    def read(self, ids: Int64[Tensor, "batch pos"], x: Tensor) -> Tensor:
        """What the unembedding reads where the last residuals are `x`."""
        return self._read(ids, x)

    def _read(self, ids: Tensor, x: Tensor) -> Tensor:
        seen: list[Tensor] = []

        def stop(_: nn.Module, args: Any, kwargs: Any) -> None:
            seen.append(input_activation(args, kwargs).float())
            raise _Reached

        with edit_hook(self.last, lambda _: x), ExitStack() as stack:
            handle = self.unembedding.register_forward_pre_hook(stop, with_kwargs=True)
            stack.callback(handle.remove)
            try:
                run(self.model, ids)
            except _Reached:
                return seen[0]
        raise InvalidInput("model", f"{self.name} does not run its unembedding.")

    def _derivative(self) -> Float[Tensor, "d_read d_model"]:
        """The mean derivative at the last residuals of the fixed tokens."""
        ids, residuals = self.ids[: len(self.ids) // COPIES], list[Tensor]()
        with torch.no_grad(), observe_hook(self.last, residuals.append):
            run(self.model, ids)
        with torch.enable_grad():
            x = residuals[0].float().requires_grad_()
            read = self._read(ids, x)
            rows = [
                torch.autograd.grad(read[..., row].sum(), x, retain_graph=True)[0].mean((0, 1))
                for row in range(read.shape[-1])
            ]
        return torch.stack(rows).detach()

    @torch.no_grad()
    def _scale(self, x: Tensor) -> float:
        """What the model multiplies U h by: the slope of small logits."""
        read: list[Tensor] = []

        def note(_: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
            h = input_activation(args, kwargs)
            read.append(h.float())
            return (h.to(self.unembedding.weight.dtype), *args[1:]), kwargs

        ids = self.ids[: len(self.ids) // COPIES]
        with edit_hook(self.last, lambda _: x[: len(ids)]), ExitStack() as stack:
            handle = self.unembedding.register_forward_pre_hook(note, with_kwargs=True)
            stack.callback(handle.remove)
            logits = run(self.model, ids).logits.float()
        right = read[0] @ self.unembedding.weight.float().T
        if getattr(self.unembedding, "bias", None) is not None:
            right += self.unembedding.bias.float()
        if right.shape != logits.shape:
            return 1.0
        count = max(1, int(right.numel() * SMALL))
        small = right.abs().flatten().topk(count, largest=False).indices
        u, v = right.flatten()[small].double(), logits.flatten()[small].double()
        scale = float((u * v).sum() / (u * u).sum())
        return 1.0 if not abs(scale - 1) > FITS else scale

    @torch.no_grad()
    def _modules_after_blocks(self) -> list[nn.Module]:
        """The outermost modules that run between the last block and the unembedding, in order."""
        ran: list[nn.Module] = []
        done: list[bool] = []

        def note(module: nn.Module, _args: Any) -> None:
            if done and module is not self.unembedding:
                ran.append(module)

        def finish(*_: Any) -> None:
            done.append(True)

        with ExitStack() as stack:
            for module in self.model.modules():
                stack.callback(module.register_forward_pre_hook(note).remove)
            end = self.block.register_forward_hook(finish)
            stack.callback(end.remove)
            ids = self.ids[:1]
            shape = (*ids.shape, self.last.d_in)
            self._read(ids, torch.ones(shape, device=self.model.device, dtype=self.model.dtype))
        inner = {id(part) for module in ran for part in module.modules() if part is not module}
        return [module for module in ran if id(module) not in inner]


def measure_norm(norm: nn.Module, width: int, device: torch.device) -> tuple[Tensor, bool]:
    """Return a norm's gain, and whether it subtracts the mean."""
    random = torch.Generator().manual_seed(0)
    x = torch.randn(64, width, generator=random).to(device) * 1000
    with torch.no_grad(), _in_float32([norm]):
        fit = _fit(x, norm(x).float())
    return fit or (torch.ones(width, device=device), False)


def _fit(
    x: Float[Tensor, "tokens d_model"], read: Float[Tensor, "tokens d_read"]
) -> tuple[Float[Tensor, " d_model"], bool] | None:
    """Return gain and centring if `read` is gain * c(x) / size(x) + bias; None if it is not."""
    if x.shape != read.shape:
        return None
    x, read = x.double(), read.double()
    mean = x - x.mean(-1, keepdim=True)
    for candidate, centred in (
        (x / x.square().mean(-1, keepdim=True).sqrt(), False),
        (mean / mean.square().mean(-1, keepdim=True).sqrt(), True),
        (x, False),
    ):
        deviation = candidate - candidate.mean(0)
        gain = (deviation * (read - read.mean(0))).sum(0) / deviation.square().sum(0)
        error = deviation * gain - (read - read.mean(0))
        if error.abs().max() <= FITS * read.abs().max():
            return gain.float(), centred
    return None


@contextmanager
def _in_float32(modules: list[nn.Module]) -> Iterator[None]:
    """Context manager that lets modules compute in float32; their own weights come back after."""
    tensors = [x for module in modules for x in (*module.parameters(), *module.buffers())]
    before = [(x, x.data) for x in tensors if torch.is_floating_point(x)]
    try:
        for x, data in before:
            x.data = data.float()
        yield
    finally:
        for x, data in before:
            x.data = data
