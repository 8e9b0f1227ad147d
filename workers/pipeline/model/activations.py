"""Activations of a model at some hooks, in a forward pass that ends at the deepest of them.

    for activations in activations_at(language, ["blocks.1.hook_resid_post"], batches):
        activations["blocks.1.hook_resid_post"]  # float32 [batch, pos, d_in], on the model's device

The last hook raises an exception, so that the later blocks and the unembedding do not run. For a
hook in the middle of the model they would be more than half of the work.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from workers.pipeline.model.hooks import HookPoint, observe_hook, resolve_hook
from workers.pipeline.model.language import Language, check_contexts_fit


class _AllCollected(Exception):
    """Every hook was reached: the rest of the forward pass is not needed."""


def activations_at(
    language: Language, hooks: Sequence[str], batches: Iterable[Int64[Tensor, "batch pos"]]
) -> Iterator[dict[str, Float[Tensor, "batch pos d_in"]]]:
    """Yield the activations at `hooks`, by name, of each batch of token ids.

    Raises `InvalidInput("hook")` if the model has no such hook, and `InvalidInput("context_size")`
    if a context is too long for the model, and
    `InvalidInput("text")` if it holds a token that the model has no embedding for.
    """
    points = [resolve_hook(language.model, hook) for hook in dict.fromkeys(hooks)]
    for batch in batches:
        check_contexts_fit(language, batch)
        yield _run_to_last_hook(language, points, batch)


@torch.no_grad()
def _run_to_last_hook(
    language: Language, points: Sequence[HookPoint], batch: Int64[Tensor, "batch pos"]
) -> dict[str, Float[Tensor, "batch pos d_in"]]:
    activations: dict[str, Tensor] = {}

    def collect(name: str, activation: Tensor) -> None:
        activations[name] = activation.detach().float()
        if len(activations) == len(points):
            raise _AllCollected

    with ExitStack() as stack:
        for point in points:
            stack.enter_context(observe_hook(point, partial(collect, point.name)))
        try:
            ids = batch.to(language.device, non_blocking=True)
            language.model(input_ids=ids, use_cache=False)
        except _AllCollected:
            pass
    return activations
