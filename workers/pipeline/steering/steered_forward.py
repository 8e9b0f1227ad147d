"""Apply interventions during a forward pass of the model.

All features that write to a hook are encoded from the activation that arrives there, before any of
them changes it. The changes are then summed up, and directions are projected out last. Outliers
(attention sinks, see `model.counted_tokens`) are left as they are unless they are asked for: they
have no activation to change, and a step in units of their norm would replace what they are for.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from features.records import InvalidInput
from workers.pipeline.model.counted_tokens import outlier_tokens
from workers.pipeline.model.hooks import HookPoint, edit_hook, observe_hook, resolve_hook
from workers.pipeline.model.language import Language
from workers.pipeline.sae.reconstruct import require_fit, written_hook
from workers.pipeline.steering.interventions import (
    FeatureIntervention,
    direction_of,
    encode_features,
)
from workers.pipeline.steering.text_activations import Lens

RowIntervention = tuple[int, FeatureIntervention]
"""A row of the batch, and an intervention on it."""


class Steering:
    """Interventions for each row of a batch; a row without any is not changed.

    steering = Steering(language, [[], [intervention], [other]])
    with steering.at(mask):                 # [rows, pos], true where interventions apply
        language.model(ids)

    Outliers stay as they are unless `include_outliers` is true. Raises `InvalidInput` if an SAE
    does not fit the model.
    """

    def __init__(
        self,
        language: Language,
        rows: Sequence[Sequence[FeatureIntervention]],
        include_outliers: bool = False,
    ) -> None:
        self.language, self.rows = language, len(rows)
        self.include_outliers = include_outliers
        self._edits = _hook_edits(language, rows)
        input_hooks = {
            lens.hook
            for edit in self._edits
            for lens in edit.lenses
            if lens.hook != edit.point.name
        }
        self._input_points = [resolve_hook(language.model, hook) for hook in input_hooks]
        self._mask: Bool[Tensor, "rows pos"] = torch.zeros(0, 0, dtype=torch.bool)
        self._inputs: dict[str, Tensor] = {}
        self._edited: set[str] = set()

    @contextmanager
    def at(self, mask: Bool[Tensor, "rows pos"]) -> Iterator[None]:
        """Steer the single forward pass inside, at the positions where `mask` is true.

        Raises `InvalidInput("features")` if the pass did not reach every hook.
        """
        self._mask = mask.to(self.language.device)
        self._inputs.clear()
        self._edited.clear()
        with ExitStack() as stack:
            for point in self._input_points:
                record = partial(self._inputs.__setitem__, point.name)
                stack.enter_context(observe_hook(point, record))
            for edit in self._edits:
                stack.enter_context(edit_hook(edit.point, partial(self._apply, edit)))
            yield
        if missed := {edit.point.name for edit in self._edits} - self._edited:
            raise InvalidInput(
                "features",
                f"This model cannot be steered at {', '.join(sorted(missed))}: it was not reached.",
            )

    def _apply(self, edit: "_HookEdit", x: Float[Tensor, "rows pos d_out"]) -> Tensor | None:
        self._edited.add(edit.point.name)
        mask = self._mask & edit.active[:, None]
        if not self.include_outliers:
            for lens in edit.lenses:
                mask &= ~outlier_tokens(self._read(lens, x, edit.point.name), lens.rule)
        row = mask.nonzero()[:, 0]
        if not len(row):
            return None
        before = x[mask].float()
        after = before + sum(
            self._change(group, before, row, mask, edit.point.name) for group in edit.groups
        )
        for number, basis in edit.projected.items():
            inside = row == number
            after[inside] -= (after[inside] @ basis) @ basis.T
        steered = x.clone()
        steered[mask] = after.to(x.dtype)
        return steered

    def _change(
        self, group: "_Group", y: Tensor, row: Int64[Tensor, " n"], mask: Tensor, hook: str
    ) -> Tensor:
        """Return what the features of one SAE add to y [n, d_out], the activations at the steered
        positions.
        """
        weights = group.constant[row]
        if group.needs_input:
            x = y if group.lens.hook == hook else self._read(group.lens, y, hook)[mask].float()
            codes, scale = encode_features(group.lens, group.indices, x, self.language)
            weights = weights + group.relative[row] * codes.to(weights.device)
            weights = weights * (scale.to(weights) if isinstance(scale, Tensor) else scale)
        change = weights @ group.directions
        if group.norms is not None:
            lengths = y.norm(dim=-1, keepdim=True)
            change = change + lengths * (group.norms[row] @ group.unit_directions)
        return change

    def _read(self, lens: Lens, x: Tensor, written: str) -> Tensor:
        """Return the activation that the SAE reads; `x` is that at the hook `written`."""
        if lens.hook == written:
            return x
        if lens.hook not in self._inputs:
            raise InvalidInput(
                "sae",
                f"The SAE writes to {written}, which comes before {lens.hook}, where it reads.",
            )
        return self._inputs[lens.hook]


class _Group(NamedTuple):
    """The interventions with one SAE at one hook, as weights by row and feature.

    Per row, `constant` is added times the direction, `relative` times the feature's activation
    times the direction, and `norms` times the length of y times the unit direction. `needs_input`
    is whether the SAE must be encoded.
    """

    lens: Lens
    indices: list[int]
    needs_input: bool
    constant: Float[Tensor, "rows features"]
    relative: Float[Tensor, "rows features"]
    norms: Float[Tensor, "rows features"] | None
    directions: Float[Tensor, "features d_out"]
    unit_directions: Float[Tensor, "features d_out"]


class _HookEdit(NamedTuple):
    """What is done at one hook by the SAEs of `lenses`. `projected` is, by row, an orthonormal
    basis of what is projected out; `active` says which rows are changed at all.
    """

    point: HookPoint
    lenses: list[Lens]
    groups: list[_Group]
    projected: dict[int, Float[Tensor, "d_out directions"]]
    active: Bool[Tensor, " rows"]


def _hook_edits(
    language: Language, rows: Sequence[Sequence[FeatureIntervention]]
) -> list[_HookEdit]:
    by_hook: dict[str, list[RowIntervention]] = {}
    for number, interventions in enumerate(rows):
        for intervention in interventions:
            hook = _checked_output_hook(language, intervention.lens)
            by_hook.setdefault(hook, []).append((number, intervention))
    return [_hook_edit(language, hook, items, len(rows)) for hook, items in by_hook.items()]


def _checked_output_hook(language: Language, lens: Lens) -> str:
    """Return the hook that the SAE writes to; `InvalidInput` if the SAE does not fit the model."""
    input_point, hook = resolve_hook(language.model, lens.hook), written_hook(lens.sae, lens.hook)
    require_fit(lens.sae, input_point)
    if lens.sae.W_dec.shape[1] != resolve_hook(language.model, hook).d_in:
        raise InvalidInput(
            "sae", f"The SAE writes another width than {hook} has: it belongs to another model."
        )
    return hook


def _hook_edit(language: Language, hook: str, items: list[RowIntervention], rows: int) -> _HookEdit:
    weighted = [item for item in items if item[1].method != "project"]
    lenses = {id(intervention.lens.sae): intervention.lens for _, intervention in weighted}
    groups = [
        _group(language, lens, [item for item in weighted if item[1].lens.sae is lens.sae], rows)
        for lens in lenses.values()
    ]
    directions: dict[int, list[Tensor]] = {}
    for number, intervention in items:
        if intervention.method == "project":
            direction = direction_of(intervention).to(language.device)
            directions.setdefault(number, []).append(direction)
    projected = {
        number: _orthonormal_basis(torch.stack(columns, 1))
        for number, columns in directions.items()
    }
    active = torch.zeros(rows, dtype=torch.bool, device=language.device)
    active[[number for number, _ in items]] = True
    writers = list({id(one.lens.sae): one.lens for _, one in items}.values())
    return _HookEdit(resolve_hook(language.model, hook), writers, groups, projected, active)


def _group(language: Language, lens: Lens, items: list[RowIntervention], rows: int) -> _Group:
    columns: dict[tuple[int, int], int] = {}
    directions: list[Tensor] = []
    for _, intervention in items:
        key = (intervention.index, id(intervention.direction))
        if key not in columns:
            columns[key] = len(columns)
            directions.append(direction_of(intervention))
    constant, relative, norms = (
        torch.zeros(rows, len(columns), device=language.device) for _ in range(3)
    )
    for number, intervention in items:
        cell = (number, columns[intervention.index, id(intervention.direction)])
        match intervention.method:
            case "add" if intervention.unit == "norm":
                norms[cell] += intervention.strength
            case "add":
                constant[cell] += intervention.strength * intervention.maximum
            case "clamp":
                constant[cell] += intervention.strength * intervention.maximum
                relative[cell] -= 1
            case "scale":
                relative[cell] += intervention.strength - 1
            case "ablate":
                relative[cell] -= 1
    scaled = getattr(lens.sae.cfg, "normalize_activations", "none") in (
        "layer_norm",
        "constant_norm_rescale",
    )
    stacked = torch.stack(directions).to(language.device)
    return _Group(
        lens,
        [index for index, _ in columns],
        bool(scaled or relative.any()),
        constant,
        relative,
        norms if norms.any() else None,
        stacked,
        stacked / stacked.norm(dim=1, keepdim=True),
    )


def _orthonormal_basis(
    columns: Float[Tensor, "d_out directions"],
) -> Float[Tensor, "d_out rank"]:
    """Return an orthonormal basis of the span of the columns, which may depend on one another."""
    basis, sizes, _ = torch.linalg.svd(columns.double(), full_matrices=False)
    return basis[:, sizes > sizes[0] * 1e-6].to(columns.dtype)
