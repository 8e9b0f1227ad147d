"""Find the list of decoder blocks of a model: the one that a forward pass runs through in order."""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from jaxtyping import Int64
from torch import Tensor, nn
from transformers import PreTrainedModel

from features.records import InvalidInput
from workers.pipeline.model.hook_point import input_activation, output_activation


def probe_ids(model: PreTrainedModel) -> Int64[Tensor, "batch pos"]:
    """Return two texts of seven token ids from all over the vocabulary, on the model's device.

    Seven, because some families fill up contexts to a power of two.
    """
    rows = embedding_rows(model)
    ids = torch.linspace(rows * 0.1, rows * 0.9, 14).long()
    order = torch.randperm(14, generator=torch.Generator().manual_seed(0))
    return ids[order].reshape(2, 7).to(model.device)


def embedding_rows(model: PreTrainedModel) -> int:
    """Return the number of token ids that the model has an embedding for."""
    try:
        weight = getattr(model.get_input_embeddings(), "weight", None)
    except NotImplementedError:
        weight = None
    if isinstance(weight, Tensor):
        return len(weight)
    return int(model.config.get_text_config().vocab_size)


def run(model: PreTrainedModel, ids: Int64[Tensor, "batch pos"]) -> Any:
    """Run a forward pass without a cache."""
    return model(input_ids=ids, use_cache=False)


def find_blocks(model: PreTrainedModel, ids: Int64[Tensor, "batch pos"]) -> nn.ModuleList:
    """Return the outermost list of modules, one per layer, that run once each, in order, each on
    what the one before returned.

    Raises `InvalidInput("source")` if the model cannot be run on token ids alone, or has no such
    list.
    """
    runs = _runs_of_entries(model, ids)
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    layers = int(getattr(model.config.get_text_config(), "num_hidden_layers", 0))
    chains = [blocks for blocks in lists if _is_chain(blocks, runs)]
    for blocks in chains:  # outermost first
        if len(blocks) == layers:
            return blocks
    if chains and len(longest := max(chains, key=len)) > 1:
        return longest
    name, times = type(model).__name__, Counter(run.module for run in runs)
    of_layers = [times[block] for blocks in lists if len(blocks) == layers for block in blocks]
    if (again := max(of_layers, default=0)) > 1:
        raise InvalidInput(
            "source",
            f"{name} runs its blocks {again} times in a pass, so that a hook would have several "
            "activations of a token.",
        )
    raise InvalidInput("source", f"{name} has no list of {layers} blocks to hook into.")


class _Run(NamedTuple):
    """One run of a module, with the activations that it got and returned (None if it did not)."""

    module: nn.Module
    input: Tensor | None
    output: Tensor | None


def _runs_of_entries(model: PreTrainedModel, ids: Int64[Tensor, "batch pos"]) -> list[_Run]:
    """The runs of all entries of module lists in a pass, in the order in which they begin."""
    runs: list[_Run] = []

    def begin(module: nn.Module, args: Any, kwargs: Any) -> None:
        runs.append(_Run(module, _copy(lambda: input_activation(args, kwargs)), None))

    def end(module: nn.Module, _args: Any, output: Any) -> None:
        at = next(at for at in reversed(range(len(runs))) if runs[at].module is module)
        runs[at] = runs[at]._replace(output=_copy(lambda: output_activation(output)))

    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    with ExitStack() as stack:
        for entry in {entry: None for module in lists for entry in module}:
            before = entry.register_forward_pre_hook(begin, with_kwargs=True)
            stack.callback(before.remove)
            stack.callback(entry.register_forward_hook(end).remove)
        try:
            run(model, ids)
        except Exception as error:
            raise InvalidInput(
                "source", f"{type(model).__name__} cannot be run on token ids alone: {error}"
            ) from error
    return runs


def _copy(activation: Callable[[], Tensor]) -> Tensor | None:
    try:
        return activation().clone()
    except TypeError:
        return None


def _is_chain(blocks: nn.ModuleList, runs: Sequence[_Run]) -> bool:
    entries = set(blocks)
    own = [each for each in runs if each.module in entries]
    return (
        len(own) > 0
        and [each.module for each in own] == list(blocks)
        and all(each.input is not None and each.output is not None for each in own)
        and all(
            torch.equal(before.output, after.input)  # type: ignore[arg-type]
            for before, after in pairwise(own)
        )
    )
