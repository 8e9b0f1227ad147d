"""Hook points as people read them: `blocks.2.hook_resid_post` is the residual stream after layer 2,
in short `2-res`.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

SITES = {
    "hook_resid_pre": ("res-pre", "residual stream before layer {}"),
    "hook_resid_post": ("res", "residual stream after layer {}"),
    "hook_mlp_out": ("mlp", "MLP output of layer {}"),
    "hook_attn_out": ("att", "attention output of layer {}"),
    "attn.hook_z": ("z", "attention heads of layer {}"),
    "mlp.hook_in": ("mlp-in", "MLP input of layer {}"),
}


class Hook(NamedTuple):
    """Where a hook reads, in words. `layer` is None for a name of another scheme, which stands for
    itself.
    """

    layer: int | None
    short: str
    words: str


def parse_hook(name: str) -> Hook:
    """The parts of a hook's name; never fails."""
    match = re.fullmatch(r"blocks\.(\d+)\.(.+)", name)
    if not match or match[2] not in SITES:
        return Hook(None, re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-"), name)
    short, words = SITES[match[2]]
    return Hook(int(match[1]), f"{match[1]}-{short}", words.format(match[1]))


def middle(names: Sequence[str]) -> str:
    """The residual stream after the middle layer, where the most concepts are; the middle name
    where there is none.
    """
    streams = [name for name in names if name.endswith("hook_resid_post")]
    chosen = streams or list(names)
    return chosen[len(chosen) // 2] if chosen else ""
