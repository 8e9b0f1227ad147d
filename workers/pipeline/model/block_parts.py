"""The parts of a decoder block: the modules whose outputs it adds to the residual stream.

A block's output is expanded into its input plus multiples of other tensors (`dataflow`). Each of
those that a module returned is a part. Their names and the order in which they are registered play
no role: BLOOM's attention returns its dense layer's output plus the stream, so its part is that
layer; OPT's MLP is no module, so its part is `fc2`; Granite's parts count 0.22 times.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from workers.pipeline.model.dataflow import Flow, Node
from workers.pipeline.model.hook_point import input_activation, output_activation


@dataclass(eq=False)
class Call:
    """One run of a module, with the nodes and shapes of its input and output activations."""

    module: nn.Module
    name: str
    input: Node | None
    input_shape: torch.Size
    output: Node = field(default_factory=Node)
    output_shape: torch.Size = field(default_factory=torch.Size)


@dataclass(frozen=True)
class Part:
    """`scale` times the output of `call`, which its block adds to the residual stream.

    `projection` is the linear map whose output the part is, up to a norm and the factor
    `projection_factor`; `entry` is the first module with a matrix between the stream and the part.
    """

    call: Call
    scale: float
    projection: Call | None
    projection_factor: float
    entry: Call | None


@dataclass(frozen=True)
class Block:
    """What one block did in a forward pass. `problem` says why it has no parts that can be read."""

    input_shape: torch.Size
    output_shape: torch.Size
    parts: tuple[Part, ...] = ()
    problem: str = ""


@contextmanager
def record_blocks(blocks: Sequence[nn.Module]) -> Iterator[list[Block]]:
    """Context manager that records what each block does in the one forward pass inside."""
    flow, records, calls = Flow(), list[Block](), list[Call]()

    def begin(name: str, module: nn.Module, args: Any, kwargs: Any) -> None:
        if not name:
            flow.clear()
            calls.clear()
        try:
            x = input_activation(args, kwargs)
            calls.append(Call(module, name, flow.node_of(x), x.shape))
        except TypeError:
            calls.append(Call(module, name, None, torch.Size()))

    def end(name: str, module: nn.Module, _args: Any, output: Any) -> None:
        call = next(call for call in reversed(calls) if call.module is module)
        try:
            y: Tensor = output_activation(output)
            call.output, call.output_shape = flow.node_of(y), y.shape
        except TypeError:
            pass
        if not name:
            records.append(_block_of(calls))

    with ExitStack() as stack:
        for block in blocks:
            for name, module in block.named_modules():
                before = module.register_forward_pre_hook(_bind(begin, name), with_kwargs=True)
                stack.callback(before.remove)
                stack.callback(module.register_forward_hook(_bind(end, name)).remove)
        stack.enter_context(flow)
        yield records


def has_matrix(module: nn.Module) -> bool:
    """Whether a module has a matrix among its parameters, as no norm has."""
    return any(parameter.ndim > 1 for parameter in module.parameters())


def is_norm(module: nn.Module) -> bool:
    """Whether a module is a norm: a class of that name, with a gain at most."""
    return "norm" in type(module).__name__.lower() and not has_matrix(module)


def _bind(callback: Any, name: str) -> Any:
    return lambda *arguments: callback(name, *arguments)


def _block_of(calls: list[Call]) -> Block:
    whole = calls[0]
    assert whole.input is not None
    shapes = whole.input_shape, whole.output_shape
    stream = _Stream(whole.input)
    if not stream.contains(whole.output):
        return Block(
            *shapes, problem="its output is not its input plus what attention and MLP return"
        )
    by_output: dict[Node, list[Call]] = {}
    for call in calls[1:]:
        by_output.setdefault(call.output, []).append(call)
    parts: list[Part] = []
    for factor, node in stream.terms(whole.output, set(by_output)):
        if node is whole.input:
            if factor != 1:
                return Block(*shapes, problem=f"it multiplies the residual stream by {factor:.4g}")
        elif node not in by_output:
            return Block(*shapes, problem="it adds a tensor that no module returns")
        else:
            part = _part(by_output[node][0], factor, calls, by_output, stream)
            if (times := sum(call.module is part.call.module for call in calls)) > 1:
                return Block(*shapes, problem=f"it runs {part.call.name} {times} times")
            parts.append(part)
    parts.sort(key=lambda part: calls.index(part.call))
    return Block(*shapes, tuple(parts))


class _Stream:
    """The nodes of a block that are its input plus something: the residual stream."""

    def __init__(self, start: Node) -> None:
        self.start = start
        self._contains: dict[Node, bool] = {start: True}

    def contains(self, node: Node) -> bool:
        if node not in self._contains:
            self._contains[node] = False
            self._contains[node] = any(self.contains(term) for _, term in node.terms)
        return self._contains[node]

    def terms(self, node: Node, outputs: set[Node]) -> Iterator[tuple[float, Node]]:
        """Yield what the stream at `node` is the sum of: factors, and its start or outputs of
        modules.
        """
        pending = [(1.0, node)]
        while pending:
            factor, node = pending.pop()
            whole = node is self.start or (node in outputs and not self.contains(node))
            if whole or not node.terms:
                yield factor, node
            else:
                pending.extend((factor * more, term) for more, term in node.terms)

    def branch(self, node: Node) -> set[Node]:
        """Return the nodes between the stream and `node`, both included."""
        found: set[Node] = set()
        pending = [node]
        while pending:
            node = pending.pop()
            if node not in found:
                found.add(node)
                if self.contains(node):  # the stream in another shape is still the stream
                    found.update(same for _, same in node.same())
                else:
                    pending.extend(node.parents)
        return found


def _part(
    call: Call, scale: float, calls: list[Call], by_output: dict[Node, list[Call]], stream: _Stream
) -> Part:
    projection, factor = _projection(call.output, by_output)
    return Part(call, scale, projection, scale * factor, _entry(call, calls, stream))


def _projection(node: Node, by_output: dict[Node, list[Call]]) -> tuple[Call | None, float]:
    """Return the linear map whose output is `node`, up to a norm, and a factor."""
    total = 1.0
    while True:
        norm: Call | None = None
        for factor, same in node.same():
            for call in by_output.get(same, []):
                if isinstance(call.module, nn.Linear | Conv1D):
                    return call, total * factor
                if is_norm(call.module):
                    norm = call
                    total *= factor
        if norm is None or norm.input is None:
            return None, total
        node = norm.input


def _entry(part: Call, calls: list[Call], stream: _Stream) -> Call | None:
    branch = stream.branch(part.output)
    for call in calls[1:]:
        around = part.name == call.name or part.name.startswith(f"{call.name}.")
        inside = call.input in branch and (call.output in branch or around)
        if inside and has_matrix(call.module):
            return call
    return None
