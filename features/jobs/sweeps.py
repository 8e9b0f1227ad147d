"""The SAEs that one training job trains: every combination of the settings with several values."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice, product
from typing import Any

from features import hook_names
from features.formfields import split_values
from features.records import SAE_ARCHITECTURES

SWEEP_SETTINGS = ("hook", "architecture", "width", "k", "sparsity", "learning_rate", "seed")
"""Settings that may have several values, in the order of names and combinations."""
MAX_SAES = 16
"""SAEs of one sweep: each needs memory of its own."""
MAX_COUNTED = 1000
"""Combinations that are counted before the sweep is refused."""
PLURALS = {"hook": "hooks", "k": "values of k", "sparsity": "sparsities"}
SLUG_PREFIXES = {"width": "w", "k": "k", "sparsity": "s", "learning_rate": "lr", "seed": "seed"}


@dataclass(frozen=True)
class Sweep:
    """`saes` are the params of each SAE by slug; `counts` the number of values per varied setting.

    A job for one SAE is a sweep of one.
    """

    saes: dict[str, dict[str, Any]]
    counts: dict[str, int]

    @property
    def description(self) -> str:
        """Such as “2 hooks × 3 widths”. Some settings may not apply to some architectures."""
        return " × ".join(
            f"{count} {PLURALS.get(name, name.replace('_', ' ') + 's')}"
            for name, count in self.counts.items()
        )


def sweep_of(params: Mapping[str, Any]) -> Sweep:
    """The sweep of a training job's params.

    An SAE's slug is the job's, followed by the values in which it differs from the others, such as
    `2-res-w4096-k16`. A setting that an architecture does not use is dropped.
    """
    values = {name: split_values(params.get(name)) for name in SWEEP_SETTINGS}
    varied = {name: several for name, several in values.items() if len(several) > 1}
    saes = {}
    for combination in islice(product(*varied.values()), MAX_COUNTED):
        settings = dict(zip(varied, combination, strict=True))
        sae = {**params, **settings}
        unused = unused_setting(sae.get("architecture"))
        sae.pop(unused, None)
        parts = [_slug_part(name, value) for name, value in settings.items() if name != unused]
        slug = "-".join([str(params.get("slug", "")), *parts])
        saes[slug] = {**sae, "slug": slug}
    return Sweep(saes, {name: len(several) for name, several in varied.items()})


def unused_setting(architecture: object) -> str:
    """The setting that an architecture does not use, or ""."""
    known = SAE_ARCHITECTURES.get(str(architecture))
    return known.unused_setting if known else ""


def _slug_part(name: str, value: Any) -> str:
    if name == "hook":
        return hook_names.parse_hook(str(value)).short
    text = f"{value:g}".replace("+", "") if isinstance(value, float) else str(value)
    return SLUG_PREFIXES.get(name, "") + text
