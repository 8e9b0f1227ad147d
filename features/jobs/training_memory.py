"""How much memory training will take, before it is queued, and whether a worker has it.

The sum of these, in bytes, with d for the width of the model's residual stream:

    model            parameters x 4: on a CPU half precision runs as float32
    each SAE         its numbers x 16: weight, gradient, and Adam's two means, in float32
    one step         batch x 8 (width + d) x 4, of the widest SAE: activations before and after the
                     nonlinearity, the gradients of both, masks, reconstructions; SAEs take their
                     steps one after the other
    block            16 batches x d x 4 per hook, twice while it is put together
    everything else  0.7 GiB: Python, torch, the tokenizer, the corpus's buffer

Measured with 16,384 features on 256 dimensions, the peak of the whole process against this sum of
1.91 GiB: standard 1.57, TopK 1.77, JumpReLU 1.90, gated 1.98, Matryoshka 2.00 GiB. The buffers of
the model's own forward pass are left out.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, NamedTuple

from django.utils import timezone

from features.jobs import sweeps
from features.models import LanguageModel, Worker

BATCH, BLOCK_BATCHES, STEP, NUMBER = 2048, 16, 8, 4
EVERYTHING_ELSE = 700 * 2**20
SEEN_LATELY = timedelta(minutes=2)
"""A worker that was silent for longer says nothing about what there is now."""


class Memory(NamedTuple):
    """Bytes that training takes, by what takes them."""

    model: int
    saes: int
    activations: int

    @property
    def total(self) -> int:
        """All of it, with what every worker takes."""
        return self.model + self.saes + self.activations + EVERYTHING_ELSE


def memory_of(params: Mapping[str, Any], model: LanguageModel) -> Memory:
    """What a `train_sae` job of valid params will take; hooks are taken to be as wide as the
    model's residual stream.
    """
    sweep, d = list(sweeps.sweep_of(params).saes.values()), model.d_model
    widths = [int(one["width"]) for one in sweep]
    saes = sum(16 * (2 * d * width + 4 * width + d) for width in widths)
    step = BATCH * STEP * (max(widths) + d) * NUMBER
    block = 2 * BLOCK_BATCHES * BATCH * d * NUMBER * len({one["hook"] for one in sweep})
    return Memory(model.parameters * NUMBER, saes, step + block)


def shortage(params: Mapping[str, Any], model: LanguageModel, queue: str) -> str:
    """Why no worker of `queue` could train this, as a message; empty where one could, or where no
    worker has reported lately.
    """
    seen = Worker.objects.filter(
        queues__contains=[queue], left=None, seen__gt=timezone.now() - SEEN_LATELY
    )
    largest = max(seen, key=lambda worker: worker.device_memory or worker.memory, default=None)
    if largest is None:
        return ""
    there, need = largest.device_memory or largest.memory, memory_of(params, model)
    if need.total <= there:
        return ""
    return (
        f"This would take about {gib(need.total)} (SAEs with gradients and optimizer "
        f"{gib(need.saes)}, activations "
        f"{gib(need.activations)}, the model {gib(need.model)}), and the largest worker of "
        f"“{queue}”, {largest.name}, has "
        f"{gib(there)}. Choose fewer features, or fewer SAEs at once."
    )


def gib(count: int) -> str:
    """Bytes as people say them."""
    return f"{count / 2**30:,.1f} GiB"
