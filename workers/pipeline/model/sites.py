"""Find a model's hook points by what its blocks compute, and check each on a few tokens.

    sites = find_sites(model)
    sites.points["blocks.2.hook_mlp_out"]       # a HookPoint
    sites.refusals["blocks.2.attn.hook_z"]      # why there is none

A block adds parts to its input (`block_parts`). The part that mixes tokens is attention, or what
stands in its place: linear attention, a state-space layer, a convolution. The other one is the MLP.
Every site is then read and edited (`site_checks`), and one that is not exact is refused.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import torch
from torch import nn
from transformers import PreTrainedModel

from workers.pipeline.model.block_parts import record_blocks
from workers.pipeline.model.decoder import find_blocks, probe_ids, run
from workers.pipeline.model.hook_point import Activation, HookPoint
from workers.pipeline.model.layers import ATTN_OUT, MLP_IN, MLP_OUT, Layer, Z
from workers.pipeline.model.site_checks import SiteChecks, project, sum_of

PART_SITES = (ATTN_OUT, MLP_OUT, Z, MLP_IN)


@dataclass(frozen=True)
class Sites:
    """The decoder blocks of a model, its hook points by name, and by name why one is refused."""

    blocks: nn.ModuleList
    points: Mapping[str, HookPoint]
    refusals: Mapping[str, str]


_sites: WeakKeyDictionary[nn.Module, Sites] = WeakKeyDictionary()


def find_sites(model: PreTrainedModel) -> Sites:
    """Return the hook points of a model, from a few passes over 14 tokens the first time.

    Raises `InvalidInput("source")` if the model cannot be run on token ids alone, or has no list of
    blocks that run one after the other.
    """
    if model not in _sites:
        _sites[model] = _find_sites(model)
    return _sites[model]


@torch.no_grad()
def _find_sites(model: PreTrainedModel) -> Sites:
    ids = probe_ids(model)
    blocks = find_blocks(model, ids)
    with record_blocks(list(blocks)) as records:
        run(model, ids)
    layers = [Layer(*each) for each in zip(range(len(blocks)), blocks, records, strict=True)]
    search = _Search(layers, SiteChecks(model, ids), tuple(ids.shape))
    search.run()
    return Sites(blocks, search.points, search.refusals)


class _Search:
    """Moves sites of `layers` from nowhere to `points` or `refusals`."""

    def __init__(
        self, layers: Sequence[Layer], checks: SiteChecks, ids_shape: tuple[int, ...]
    ) -> None:
        self.layers, self.checks, self.ids_shape = layers, checks, ids_shape
        self.points: dict[str, HookPoint] = {}
        self.refusals: dict[str, str] = {}
        self.first: dict[str, Activation] = {}

    def run(self) -> None:
        layers = [layer for layer in self.layers if self._offer_stream(layer)]
        self.first = self.checks.read(
            [point for layer in layers for point in (layer.pre, layer.post, *layer.parts)], {}
        )
        layers = [layer for layer in layers if self._can_be_taken_apart(layer)]
        self._tell_attention_from_mlp(layers)
        for layer in layers:
            for site in PART_SITES:
                self._offer_part(layer, site)
        names = [layer.name(site) for layer in layers for site in PART_SITES]
        points = [self.points[name] for name in names if name in self.points]
        self.first |= self.checks.read(points, {})
        for site in PART_SITES:
            self._check_edits(layers, site)

    def _offer_stream(self, layer: Layer) -> bool:
        for point, shape in (
            (layer.pre, layer.record.input_shape),
            (layer.post, layer.record.output_shape),
        ):
            if tuple(shape[:-1]) == self.ids_shape:
                self.points[point.name] = point
            else:
                self.refusals[point.name] = (
                    f"For a batch of {self.ids_shape} tokens, the blocks of this model pass on "
                    f"activations of shape {tuple(shape)} instead of one vector per token."
                )
        if layer.pre.name in self.points and layer.post.name in self.points:
            return True
        self._refuse(
            layer, PART_SITES, "The residual stream of this model is not one vector per token."
        )
        return False

    def _can_be_taken_apart(self, layer: Layer) -> bool:
        """Whether the block's output is its input plus its parts, in this layer alone."""
        problem = layer.record.problem
        uses = Counter(part.call.module for other in self.layers for part in other.record.parts)
        if shared := [part.call.name for part in layer.record.parts if uses[part.call.module] > 1]:
            problem = f"it shares {shared[0]} with other blocks"
        if not problem:
            error = self._sum_error(layer, self.first)
            if not error <= self.checks.tolerance:
                problem = (
                    "its input and the outputs of its parts miss its output by "
                    f"{error:.2%} of the largest entry of the stream"
                )
        if problem:
            self._refuse(layer, PART_SITES, f"The block cannot be taken apart: {problem}.")
        return not problem

    def _sum_error(self, layer: Layer, read: Mapping[str, Activation]) -> float:
        post = read[layer.post.name]
        total = sum_of([self.first[layer.pre.name], *(read[part.name] for part in layer.parts)])
        return self.checks.error(total, post, post)

    def _tell_attention_from_mlp(self, layers: Sequence[Layer]) -> None:
        """Change all tokens but the last: what attention gives the last one changes too, what the
        MLP gives it does not. The parts before it are held as they were.
        """
        changes: dict[Layer, list[float]] = {layer: [] for layer in layers}
        for place in range(max((len(layer.parts) for layer in layers), default=0)):
            asked = [layer for layer in layers if place < len(layer.parts)]
            edits = {
                layer.pre: self.checks.nudged_past(self.first[layer.pre.name]) for layer in layers
            }
            for layer in asked:
                edits |= {part: self.first[part.name] for part in layer.parts[:place]}
            read = self.checks.read([layer.parts[place] for layer in asked], edits)
            for layer in asked:
                name = layer.parts[place].name
                change = self.checks.change(read[name][:, -1:], self.first[name][:, -1:])
                changes[layer].append(change)
        for layer, sizes in changes.items():
            layer.tell_apart(sizes, self.checks.rounding)

    def _offer_part(self, layer: Layer, site: str) -> None:
        name, point = layer.name(site), layer.candidate(site)
        if point is None:
            self.refusals[name] = _why_not(layer, site)
        elif site in (ATTN_OUT, MLP_OUT) and point.d_in != layer.d_model:
            self.refusals[name] = (
                f"It is {point.d_in} wide, and the residual stream {layer.d_model}."
            )
        else:
            self.points[name] = point

    def _check_edits(self, layers: Sequence[Layer], site: str) -> None:
        """Edit a site in all layers; refuse it where the stream does not change as it should."""
        points = {layer: point for layer in layers if (point := self.points.get(layer.name(site)))}
        if not points:
            return
        inputs = {layer.pre: self.first[layer.pre.name] for layer in layers}
        edits = {point: self.checks.nudged(self.first[point.name]) for point in points.values()}
        read = self.checks.read(
            [
                observed
                for layer, point in points.items()
                for observed in (layer.post, *layer.parts, _output_of(point))
            ],
            inputs | edits,
        )
        for layer, point in points.items():
            if problem := self._problem(layer, site, edits[point], read):
                del self.points[point.name]
                self.refusals[point.name] = problem

    def _problem(
        self, layer: Layer, site: str, edited: Activation, read: Mapping[str, Activation]
    ) -> str:
        """Why a site that was `edited` is not what it should be; empty if it is."""
        checks, point = self.checks, self.points[layer.name(site)]
        error = self._sum_error(layer, read)
        place = layer.place(site)
        assert place is not None
        part = layer.parts[place]
        if site in (ATTN_OUT, MLP_OUT):
            error = max(error, checks.error(read[part.name], edited, read[layer.post.name]))
        elif site == Z:
            projected = read[_output_of(point).name]
            right = project(point.module, edited.to(projected))
            if not checks.error(right, projected, projected) <= checks.tolerance:
                return "Its output projection does more than multiply by a matrix."
        if not error <= checks.tolerance:
            return f"An edit misses the residual stream by {error:.2%} of its largest entry."
        if site in (Z, MLP_IN) and not checks.differs(read[part.name], self.first[part.name]):
            return "An edit does not reach the residual stream."
        before = layer.parts[:place]
        if any(checks.differs(read[other.name], self.first[other.name]) for other in before):
            return "An edit changes another part of the block, too."
        return ""

    def _refuse(self, layer: Layer, sites: Sequence[str], reason: str) -> None:
        self.refusals |= {layer.name(site): reason for site in sites}


def _output_of(point: HookPoint) -> HookPoint:
    """The output of the module of a point at its input."""
    return replace(point, name=f"{point.name} output", side="output", scale=1.0)


def _why_not(layer: Layer, site: str) -> str:
    """Why nothing in a block is like `site`."""
    mixes = site in (ATTN_OUT, Z)
    part = "attention" if mixes else "MLP"
    names = [
        each.call.name
        for each, mix in zip(layer.record.parts, layer.mixes, strict=True)
        if mix == mixes
    ]
    if layer.place(site) is not None:
        return (
            "Attention does not end with a linear map."
            if site == Z
            else "The MLP does not begin with a module."
        )
    if not names:
        return f"This block has no {part}."
    return f"Several modules are its {part} together: {', '.join(names)}."
