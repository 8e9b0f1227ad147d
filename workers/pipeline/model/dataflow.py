"""How the tensors of a forward pass were computed from one another.

    with record_flow() as flow:
        model(ids)
    flow.node_of(tensor)

A node says whether its tensor is a sum of multiples of others (an addition, a multiplication by a
number, another shape of the same values) or something else. So a block's output can be written as
its input plus what the block adds to it, in any family, whatever its modules are called.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

SAME = {
    "view", "_unsafe_view", "clone", "_to_copy", "alias", "detach", "squeeze", "unsqueeze",
    "reshape", "contiguous", "lift_fresh", "_reshape_alias", "native_dropout",
}  # fmt: skip
"""Operations that change no value: another shape, another type, a copy."""


@dataclass(eq=False)
class Node:
    """A tensor. If `terms` are given, it is the sum of factor times node over them; otherwise it
    was computed from its `parents` in some other way.
    """

    parents: tuple["Node", ...] = ()
    terms: tuple[tuple[float, "Node"], ...] = ()

    def ancestors(self, ends: set["Node"]) -> set["Node"]:
        """Return the nodes that this one was computed from, itself included, up to `ends`."""
        found: set[Node] = set()
        stack = [self]
        while stack:
            node = stack.pop()
            if node not in found:
                found.add(node)
                stack.extend(() if node in ends else node.parents)
        return found

    def same(self) -> Iterator[tuple[float, "Node"]]:
        """Yield the nodes that this one is a multiple of, with the factor; itself first."""
        factor, node = 1.0, self
        yield factor, node
        while len(node.terms) == 1:
            ((more, node),) = node.terms
            factor *= more
            yield factor, node


class Flow(TorchDispatchMode):
    """Records the nodes of all tensors from the moment that it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self._nodes: dict[int, Node] = {}
        self._tensors: list[Tensor] = []

    def clear(self) -> None:
        """Forget all tensors, which takes their memory back."""
        self._nodes.clear()
        self._tensors.clear()

    def node_of(self, tensor: Tensor) -> Node:
        """Return the node of the value that `tensor` has now."""
        if id(tensor) not in self._nodes:
            self.set_node(tensor, Node())
        return self._nodes[id(tensor)]

    def set_node(self, tensor: Tensor, node: Node) -> None:
        """Let `node` stand for the value that `tensor` has now."""
        self._nodes[id(tensor)] = node
        self._tensors.append(tensor)  # an id is only unique while its tensor lives

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        inputs = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        parents = tuple(self.node_of(x) for x in inputs)
        before = {id(x): self._nodes[id(x)] for x in inputs}
        result = func(*args, **kwargs)
        name = func._schema.name.partition("::")[2].rstrip("_")
        for output in tree_leaves(result):
            if not isinstance(output, Tensor):
                continue
            if id(output) in before and not func._schema.is_mutable:
                continue  # the tensor itself: nothing was computed
            self.set_node(output, Node(parents, self._terms(name, output, args, kwargs, before)))
        return result

    def _terms(
        self,
        name: str,
        output: Tensor,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        nodes: dict[int, Node],
    ) -> tuple[tuple[float, Node], ...]:
        if not torch.is_floating_point(output):
            return ()
        x = args[0] if args else None
        other = args[1] if len(args) > 1 else None
        if not isinstance(x, Tensor):
            return ()
        if name in SAME and x.numel() == output.numel():
            return ((1.0, nodes[id(x)]),)
        if name in ("add", "sub") and isinstance(other, Tensor):
            if not x.shape == other.shape == output.shape:
                return ()
            sign = kwargs.get("alpha", 1) * (1 if name == "add" else -1)
            return (1.0, nodes[id(x)]), (float(sign), nodes[id(other)])
        if name in ("mul", "div"):
            if not isinstance(other, Tensor) and other is None:
                return ()
            if _is_number(x) and isinstance(other, Tensor) and name == "mul":
                x, other = other, x
            if isinstance(other, Tensor) and not _is_number(other):
                return ()
            if x.numel() != output.numel() or kwargs.get("rounding_mode"):
                return ()
            number = float(other)
            return ((number if name == "mul" else 1 / number, nodes[id(x)]),)
        return ()


def _is_number(x: Any) -> bool:
    return isinstance(x, Tensor) and x.numel() == 1
