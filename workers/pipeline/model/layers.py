"""One decoder block with the points where it can be read: its stream, and its parts."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from torch import nn

from workers.pipeline.model.block_parts import Block, Call, Part
from workers.pipeline.model.hook_point import HookPoint

RESID_PRE, RESID_POST = "hook_resid_pre", "hook_resid_post"
MLP_OUT, ATTN_OUT, Z, MLP_IN = "hook_mlp_out", "hook_attn_out", "attn.hook_z", "mlp.hook_in"
SITES = (RESID_PRE, RESID_POST, MLP_OUT, ATTN_OUT, Z)
"""Where an SAE can be trained. `MLP_IN` is for transcoders only: it is no part of the stream."""

CLEARLY = 10
"""Times that a change must be larger than another one, to be no rounding."""


class Layer:
    """Block number `number` with the record of what it did. `parts` are points at the outputs of
    its parts, in the order in which they run. `mixes` says which of them mix tokens.
    """

    mixes: Sequence[bool] = ()

    def __init__(self, number: int, block: nn.Module, record: Block) -> None:
        self.number, self.block, self.record = number, block, record
        self.d_model = record.input_shape[-1]
        self.pre = self._point(RESID_PRE, block, "input", record.input_shape)
        self.post = self._point(RESID_POST, block, "output", record.output_shape)
        self.parts = [
            self._output(f"part{place}", part.call, part.scale)
            for place, part in enumerate(record.parts)
        ]

    def name(self, site: str) -> str:
        """Return the full name of a site in this layer."""
        return f"blocks.{self.number}.{site}"

    def tell_apart(self, changes: Sequence[float], rounding: float) -> None:
        """Note which parts mix tokens: their output for the last token changes by more than
        `rounding` with the others. Of two that do, the second is the MLP (RWKV's looks at the token
        before, too); of two that do not, the one that changes clearly more is attention.
        """
        mixes = [change > rounding for change in changes]
        if mixes == [True, True]:
            mixes = [True, False]
        elif mixes == [False, False] and max(changes) > CLEARLY * min(changes):
            mixes = [change == max(changes) for change in changes]
        self.mixes = mixes

    def place(self, site: str) -> int | None:
        """Return the place of the part that `site` belongs to; None unless it is exactly one."""
        mixing = site in (ATTN_OUT, Z)
        places = [place for place, mixes in enumerate(self.mixes) if mixes == mixing]
        return places[0] if len(places) == 1 else None

    def part(self, site: str) -> Part | None:
        """Return the part that `site` belongs to; None unless it is exactly one."""
        place = self.place(site)
        return None if place is None else self.record.parts[place]

    def candidate(self, site: str) -> HookPoint | None:
        """Return the point that `site` should be; None if nothing in the block is like that."""
        part = self.part(site)
        if part is None:
            return None
        if site in (ATTN_OUT, MLP_OUT):
            return self._output(site, part.call, part.scale)
        call = part.projection if site == Z else part.entry
        if call is None:
            return None
        point = self._point(site, call.module, "input", call.input_shape)
        return replace(point, factor=part.projection_factor) if site == Z else point

    def _output(self, site: str, call: Call, scale: float) -> HookPoint:
        return replace(self._point(site, call.module, "output", call.output_shape), scale=scale)

    def _point(
        self, site: str, module: nn.Module, side: Literal["input", "output"], shape: Sequence[int]
    ) -> HookPoint:
        flat = len(shape) == 2
        return HookPoint(
            self.name(site), self.number, module, side, shape[-1], self.block, flat=flat
        )
