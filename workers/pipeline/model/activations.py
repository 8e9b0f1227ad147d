"""Activations at some hooks of a model, in one forward pass that ends at the deepest of them.

    for activations in activations_at(language, ["blocks.1.hook_resid_post"], batches):
        activations["blocks.1.hook_resid_post"]      # float32 [batch, pos, d_in], on the model's
        device

The pass is cut short by an exception raised from the hook that completes the set, so that the later
blocks and the unembedding (more than half the work for a middle layer) never run.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from workers.pipeline.model.hooks import observe_hook, resolve_hook
from workers.pipeline.model.language import Language, check_context_length


class _Complete(Exception):
    """Every hook has been read: the rest of the forward pass is not needed."""


def activations_at(
    language: Language, hooks: Sequence[str], batches: Iterable[Int64[Tensor, "batch pos"]]
) -> Iterator[dict[str, Float[Tensor, "batch pos d_in"]]]:
    """Yield, for each batch of token ids, the activations at `hooks` by name.

    `InvalidInput("hook")` for an unknown one, `InvalidInput("context_size")` for contexts that are
    too long for the model.
    """
    points = [resolve_hook(language.model, hook) for hook in dict.fromkeys(hooks)]
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[Tensor], None]:
        def read(activation: Tensor) -> None:
            found[name] = activation.detach().float()
            if len(found) == len(points):
                raise _Complete

        return read

    for batch in batches:
        check_context_length(language, batch)
        found.clear()
        with ExitStack() as stack, torch.no_grad():
            for point in points:
                stack.enter_context(observe_hook(point, keep(point.name)))
            try:
                language.model(
                    input_ids=batch.to(language.device, non_blocking=True), use_cache=False
                )
            except _Complete:
                pass
        yield dict(found)
