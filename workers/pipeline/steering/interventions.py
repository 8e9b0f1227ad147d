"""Interventions on features: while the model runs, only the feature's own contribution to an
activation changes.

With y the activation at the hook that the SAE writes, a the feature's activation there (encoded
from what arrives), d its decoder row (length 1 once loaded, save for some TopK), m its maximum on
the dashboard's tokens and s the strength:

    add, in maxima       y + s m d            clamp        y + (s m - a) d add, in norms        y +
    s |y| d / |d|    scale        y + (s - 1) a d ablate               y - a d              project
    y - D D^+ y, D the directions to project out

What the SAE does not explain of y stays as it is, and so do its other features: ablating a feature
that is at zero changes nothing, to the bit. An SAE that normalises each token (`layer_norm`,
`constant_norm_rescale`) decodes in units of that token, so d is multiplied by the token's own
scale. All features that write to a hook read what arrives there, before any of them changes it;
then the changes are added up, and directions are projected out last.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from workers.pipeline.dashboards.encode import ALONE, tile
from workers.pipeline.errors import BadInput
from workers.pipeline.model.hooks import HookPoint, editing, reading, resolve
from workers.pipeline.model.language import Language
from workers.pipeline.sae.io import centred, require_fit, written_hook
from workers.pipeline.steering.typed_text import Lens

Method = Literal["add", "clamp", "scale", "ablate", "project"]
Unit = Literal["maximum", "norm"]
MOST_FEATURES = 32
MOST_STRENGTH = 100.0


class Push(NamedTuple):
    """One feature, and what is done to it. `maximum` is its largest activation, which strengths are
    multiples of.

    A `direction` [d_out] takes the place of the decoder row, with the row's length: a control.
    """

    lens: Lens
    index: int  # type: ignore[assignment]  # tuple has a method of that name, which nobody calls here
    method: Method = "add"
    strength: float = 1.0
    unit: Unit = "maximum"
    maximum: float = 0.0
    direction: Tensor | None = None


def require_sane(pushes: Sequence[Push]) -> None:
    """`BadInput`, named by field, where these cannot be applied together or could do nothing."""
    if not 0 < len(pushes) <= MOST_FEATURES:
        raise BadInput(
            "features", f"Steer with 1 to {MOST_FEATURES} features; these are {len(pushes)}."
        )
    for push in pushes:
        width = push.lens.sae.cfg.d_sae
        if not 0 <= push.index < width:
            raise BadInput(
                "index", f"There is no feature {push.index:,}: this SAE has 0 to {width - 1:,}."
            )
        if not math.isfinite(push.strength) or abs(push.strength) > MOST_STRENGTH:
            raise BadInput(
                "strength",
                f"A strength is a number from -{MOST_STRENGTH:g} to {MOST_STRENGTH:g}, not "
                f"{push.strength:g}.",
            )
        if _in_maxima(push) and not push.maximum > 0:
            raise BadInput(
                "unit",
                f"Feature {push.index:,} has no maximum to measure in: it never fired. Add it in "
                "residual norms.",
            )


def encode(
    lens: Lens, indices: Sequence[int], x: Float[Tensor, "tokens d_in"], language: Language
) -> tuple[Float[Tensor, "tokens features"], Float[Tensor, "tokens 1"] | float]:
    """Activations of some features, and the scale in which the SAE decodes each token
    (1 for most).
    """
    sae = lens.sae
    x = x.to(sae.W_dec.device, sae.W_dec.dtype)
    if centred(sae, language.model, lens.hook):
        x = x - x.mean(-1, keepdim=True)
    if type(sae) in ALONE:
        codes = torch.cat([tile(sae, index, index + 1).encode(x) for index in indices], 1)
    else:
        codes = sae.encode(x)[:, list(indices)]
    mode = getattr(sae.cfg, "normalize_activations", "none")
    scale = (
        sae.ln_std
        if mode == "layer_norm"
        else 1 / sae.x_norm_coeff
        if mode == "constant_norm_rescale"
        else 1.0
    )
    return codes.float().clamp(min=0), scale


class Steering:
    """Some pushes for each row of a batch; a row of none is left alone.

    steering = Steering(language, [[], [push], [other]])
    with steering.at(mask):                 # [rows, pos], true where the pushes apply
        language.model(ids)
    """

    def __init__(self, language: Language, rows: Sequence[Sequence[Push]]) -> None:
        self.language, self.rows = language, len(rows)
        self._sites = _sites(language, rows)
        apart = {
            part.lens.hook
            for site in self._sites
            for part in site.parts
            if part.lens.hook != site.point.name
        }
        self._readings = [resolve(language.model, hook) for hook in apart]
        self._mask: Bool[Tensor, "rows pos"] = torch.zeros(0, 0, dtype=torch.bool)
        self._read: dict[str, Tensor] = {}
        self._ran: set[str] = set()

    @contextmanager
    def at(self, mask: Bool[Tensor, "rows pos"]) -> Iterator[None]:
        """Apply the pushes at these positions of the one forward pass inside. Never lets a pass go
        by unsteered.
        """
        self._mask = mask.to(self.language.device)
        self._read.clear()
        self._ran.clear()
        with ExitStack() as stack:
            for point in self._readings:
                stack.enter_context(
                    reading(point, lambda x, point=point: self._read.update({point.name: x}))
                )  # type: ignore[misc]
            for site in self._sites:
                stack.enter_context(editing(site.point, lambda x, site=site: self._edit(site, x)))  # type: ignore[misc]
            yield
        if missed := {site.point.name for site in self._sites} - self._ran:
            raise BadInput(
                "features",
                f"This model cannot be steered at {', '.join(sorted(missed))}: it was not reached.",
            )

    def _edit(self, site: "_Site", x: Float[Tensor, "rows pos d_out"]) -> Tensor | None:
        self._ran.add(site.point.name)
        mask = self._mask & site.active[:, None]
        row = mask.nonzero()[:, 0]
        if not len(row):
            return None
        before = x[mask].float()
        after = before + sum(
            self._delta(part, before, row, mask, site.point.name) for part in site.parts
        )
        for of, basis in site.removed.items():
            mine = row == of
            after[mine] -= (after[mine] @ basis) @ basis.T
        steered = x.clone()
        steered[mask] = after.to(x.dtype)
        return steered

    def _delta(
        self, part: "_Part", y: Tensor, row: Int64[Tensor, " n"], mask: Tensor, hook: str
    ) -> Tensor:
        """What the features of one SAE add to y [n, d_out], the activations at the steered
        positions.
        """
        weights = part.plain[row]
        if part.reads:
            x = y if part.lens.hook == hook else self._seen(part.lens.hook, hook)[mask].float()
            codes, scale = encode(part.lens, part.indices, x, self.language)
            weights = (weights + part.own[row] * codes.to(weights.device)) * _to(scale, weights)
        change = weights @ part.directions
        if part.norms is not None:
            change = change + y.norm(dim=-1, keepdim=True) * (
                part.norms[row] @ part.unit_directions
            )
        return change

    def _seen(self, hook: str, written: str) -> Tensor:
        if hook not in self._read:
            raise BadInput(
                "sae", f"The SAE writes to {written}, which comes before {hook}, where it reads."
            )
        return self._read[hook]


class _Part(NamedTuple):
    """The pushes with one SAE at one hook: by row and feature, weights that do not depend on
    activations and those that do.
    """

    lens: Lens
    indices: list[int]
    reads: bool
    plain: Float[Tensor, "rows features"]
    own: Float[Tensor, "rows features"]
    norms: Float[Tensor, "rows features"] | None
    directions: Float[Tensor, "features d_out"]
    unit_directions: Float[Tensor, "features d_out"]


class _Site(NamedTuple):
    """A hook that is written to, and by row an orthonormal basis of what is projected out there."""

    point: HookPoint
    parts: list[_Part]
    removed: dict[int, Float[Tensor, "d_out directions"]]
    active: Bool[Tensor, " rows"]


def directions(push: Push) -> Float[Tensor, " d_out"]:
    """What is added to the hook per unit of activation."""
    row = push.lens.sae.W_dec[push.index].detach().float()
    return (
        row
        if push.direction is None
        else push.direction.to(row) / push.direction.norm().to(row) * row.norm()
    )


def _sites(language: Language, rows: Sequence[Sequence[Push]]) -> list[_Site]:
    by_hook: dict[str, list[tuple[int, Push]]] = {}
    for number, pushes in enumerate(rows):
        for push in pushes:
            read, hook = (
                resolve(language.model, push.lens.hook),
                written_hook(push.lens.sae, push.lens.hook),
            )
            require_fit(push.lens.sae, read)
            if push.lens.sae.W_dec.shape[1] != resolve(language.model, hook).d_in:
                raise BadInput(
                    "sae",
                    f"The SAE writes another width than {hook} has: it belongs to another model.",
                )
            by_hook.setdefault(hook, []).append((number, push))
    return [_site(language, hook, found, len(rows)) for hook, found in by_hook.items()]


def _site(language: Language, hook: str, found: list[tuple[int, Push]], rows: int) -> _Site:
    moving = [(number, push) for number, push in found if push.method != "project"]
    lenses = {id(push.lens.sae): push.lens for _, push in moving}
    parts = [
        _part(language, lens, [(n, p) for n, p in moving if p.lens.sae is lens.sae], rows)
        for lens in lenses.values()
    ]
    removed: dict[int, list[Tensor]] = {}
    for number, push in found:
        if push.method == "project":
            removed.setdefault(number, []).append(directions(push).to(language.device))
    bases = {number: _span(torch.stack(rows, 1)) for number, rows in removed.items()}
    active = torch.zeros(rows, dtype=torch.bool, device=language.device)
    active[[number for number, _ in found]] = True
    return _Site(resolve(language.model, hook), parts, bases, active)


def _part(language: Language, lens: Lens, found: list[tuple[int, Push]], rows: int) -> _Part:
    columns: dict[tuple[int, int], int] = {}
    drawn: list[Tensor] = []
    for _, push in found:
        if (push.index, id(push.direction)) not in columns:
            columns[push.index, id(push.direction)] = len(columns)
            drawn.append(directions(push))
    plain, own, norms = (torch.zeros(rows, len(columns), device=language.device) for _ in range(3))
    for number, push in found:
        at = (number, columns[push.index, id(push.direction)])
        if push.method == "add" and push.unit == "norm":
            norms[at] += push.strength
            continue
        if push.method in ("add", "clamp"):
            plain[at] += push.strength * push.maximum
        if push.method != "add":
            own[at] += push.strength - 1 if push.method == "scale" else -1.0
    scaled = getattr(lens.sae.cfg, "normalize_activations", "none") in (
        "layer_norm",
        "constant_norm_rescale",
    )
    stacked = torch.stack(drawn).to(language.device)
    return _Part(
        lens,
        [index for index, _ in columns],
        bool(scaled or own.any()),
        plain,
        own,
        norms if norms.any() else None,
        stacked,
        stacked / stacked.norm(dim=1, keepdim=True),
    )


def _span(columns: Float[Tensor, "d_out directions"]) -> Float[Tensor, "d_out rank"]:
    """An orthonormal basis of what the columns span; directions that repeat others add nothing."""
    basis, sizes, _ = torch.linalg.svd(columns.double(), full_matrices=False)
    return basis[:, sizes > sizes[0] * 1e-6].to(columns.dtype)


def _in_maxima(push: Push) -> bool:
    return push.method == "clamp" or (push.method == "add" and push.unit == "maximum")


def _to(scale: Tensor | float, like: Tensor) -> Tensor | float:
    return scale.to(like) if isinstance(scale, Tensor) else scale
