"""A place in a model whose activation can be read and replaced."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

Activation = Float[Tensor, "batch pos d_in"]
Edit = Callable[[Activation], Activation | None]


@dataclass(frozen=True)
class HookPoint:
    """`scale` times the input or output of `module` in decoder block `layer`, of width `d_in`.

    `scale` is what the block multiplies the output by before it adds it to the residual stream, so
    that an edit of the activation changes the stream by exactly the edit. `flat` is whether the
    module gets its tokens as [batch * pos, d_in]; their shape is then that of `block`'s input.
    `factor` is, of attn.hook_z, what the block multiplies the projection of z by.
    """

    name: str
    layer: int
    module: nn.Module
    side: Literal["input", "output"]
    d_in: int
    block: nn.Module
    scale: float = 1.0
    flat: bool = False
    factor: float = 1.0


@contextmanager
def observe_hook(point: HookPoint, callback: Callable[[Activation], None]) -> Iterator[None]:
    """Context manager that calls `callback` with the activation at `point` in every forward pass.

    The activation has shape [batch, pos, d_in], the model's dtype and its device. It is a copy:
    some families add to it in place (Falcon adds attention's output to the MLP's).
    """

    def observe(activation: Activation) -> None:
        callback(activation.clone())

    with edit_hook(point, observe):
        yield


@contextmanager
def edit_hook(point: HookPoint, edit: Edit) -> Iterator[None]:
    """Context manager that replaces the activation at `point` by `edit(activation)`.

    If `edit` returns None, the activation is left as it is. Shapes are as in `observe_hook`.
    """
    shape: list[int] = []

    def note_shape(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        shape[:] = input_activation(args, kwargs).shape[:-1]

    def edit_tensor(x: Tensor) -> Tensor | None:
        activation = x.reshape(*shape, x.shape[-1]) if point.flat else x
        edited = edit(activation if point.scale == 1 else activation * point.scale)
        if edited is None:
            return None
        return (edited if point.scale == 1 else edited / point.scale).reshape(x.shape)

    def edit_input(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        edited = edit_tensor(input_activation(args, kwargs))
        return None if edited is None else with_input(args, kwargs, edited)

    def edit_output(_module: nn.Module, _args: Any, output: Any) -> Any:
        edited = edit_tensor(output_activation(output))
        return None if edited is None else _with_output(output, edited)

    with ExitStack() as stack:
        if point.flat:
            handle = point.block.register_forward_pre_hook(note_shape, with_kwargs=True)
            stack.callback(handle.remove)
        if point.side == "input":
            handle = point.module.register_forward_pre_hook(edit_input, with_kwargs=True)
        else:
            handle = point.module.register_forward_hook(edit_output)
        stack.callback(handle.remove)
        yield


def input_activation(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Return the activation among a module's arguments: the first one, by position or by name.

    Raises `TypeError` if there is none.
    """
    key = _input_key(args, kwargs)
    activation: Tensor = args[key] if isinstance(key, int) else kwargs[key]
    return activation


def with_input(
    args: tuple[Any, ...], kwargs: dict[str, Any], activation: Tensor
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return a module's arguments with another activation."""
    key = _input_key(args, kwargs)
    if isinstance(key, int):
        return (*args[:key], activation, *args[key + 1 :]), kwargs
    return args, kwargs | {key: activation}


def output_activation(output: Any) -> Tensor:
    """Return the activation of a module's output: blocks and attention of some families return
    (activation, weights, …).

    Raises `TypeError` if there is none.
    """
    while not isinstance(output, Tensor):
        if not output or not isinstance(output, tuple | list):
            raise TypeError("A module returned no activation.")
        output = output[0]
    return output


def _with_output(output: Any, activation: Tensor) -> Any:
    if isinstance(output, Tensor):
        return activation
    return type(output)([_with_output(output[0], activation), *output[1:]])


def _input_key(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int | str:
    named = ["hidden_states", *kwargs]
    keys: list[tuple[int | str, Any]] = [
        *enumerate(args),
        *((key, kwargs.get(key)) for key in named),
    ]
    for key, value in keys:
        if isinstance(value, Tensor) and torch.is_floating_point(value):
            return key
    raise TypeError("A module got no activation.")
