"""The SAEs that one training job makes: every combination of the settings that were given several
values.
"""

from collections.abc import Mapping
from itertools import islice, product
from typing import Any

from features import hook_names
from features.formfields import split

SWEPT = ("hook", "architecture", "width", "k", "sparsity", "learning_rate", "seed")
"""Settings that may have several values, in the order in which names and combinations are made."""
MOST = 16
"""SAEs of one sweep: each takes memory of its own."""
ENOUGH = 1000
"""Combinations that are looked at: that many are too many in any case."""
UNREAD = {
    "gated": "k",
    "standard": "k",
    "topk": "sparsity",
    "batchtopk": "sparsity",
    "matryoshka": "sparsity",
}
"""The setting that an architecture does not read: it is not kept, so that no page shows what had no
effect.
"""


def members(params: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The params of every SAE by its slug; of a job for one SAE, these are its own.

    A slug is the job's, with the values behind it in which this SAE differs from the others:
    `2-res-w4096-k16`.
    """
    swept = [name for name in SWEPT if len(split(params.get(name))) > 1]
    found = {}
    for values in islice(product(*(split(params[name]) for name in swept)), ENOUGH):
        chosen = dict(zip(swept, values, strict=True))
        one = {**params, **chosen}
        unread = UNREAD.get(str(one.get("architecture")), "")
        one.pop(unread, None)
        parts = [
            str(params.get("slug", "")),
            *(part(name, chosen[name]) for name in swept if name != unread),
        ]
        found["-".join(parts)] = {**one, "slug": "-".join(parts)}
    return found


def combinations(params: Mapping[str, Any]) -> str:
    """What a sweep goes over: “2 hooks × 3 widths”. Some of it may make no difference to some
    architecture.
    """
    swept = {
        name: len(split(params.get(name))) for name in SWEPT if len(split(params.get(name))) > 1
    }
    words = {
        "hook": "hooks",
        "k": "values of k",
        "sparsity": "sparsities",
        "learning_rate": "learning rates",
    }
    return " × ".join(f"{count} {words.get(name, f'{name}s')}" for name, count in swept.items())


def part(name: str, value: Any) -> str:
    """What a setting's value adds to a slug."""
    number = f"{value:g}".replace("+", "") if isinstance(value, float) else str(value)
    match name:
        case "hook":
            return hook_names.read(str(value)).short
        case "architecture":
            return number
        case _:
            return {"width": "w", "k": "k", "sparsity": "s", "learning_rate": "lr", "seed": "seed"}[
                name
            ] + number
