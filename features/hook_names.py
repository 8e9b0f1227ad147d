"""Hook points as people read them: `blocks.2.hook_resid_post` is the residual stream after layer 2,
in short `2-res`.
"""

import re
from collections.abc import Mapping, Sequence
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


def group_by_reason(refusals: Mapping[str, str]) -> list[tuple[str, str]]:
    """Hooks that a model lacks as (hooks, reason), such as (“MLP output of layers 0–3”, …)."""
    layers: dict[tuple[str, str], list[int]] = {}
    for name, reason in refusals.items():
        number, _, site = name.removeprefix("blocks.").partition(".")
        words = SITES[site][1].format("")
        layers.setdefault((words, reason), []).append(int(number))
    grouped: dict[str, list[str]] = {}
    for (words, reason), numbers in layers.items():
        text = words.removesuffix("layer ") + _layers_in_words(sorted(numbers))
        grouped.setdefault(reason, []).append(text[0].upper() + text[1:])
    return [("; ".join(texts), reason) for reason, texts in grouped.items()]


def _layers_in_words(numbers: list[int]) -> str:
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    texts = [f"{run[0]}–{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs]
    return f"layer{'s' if len(numbers) > 1 else ''} {', '.join(texts)}"


def middle(names: Sequence[str]) -> str:
    """The residual stream after the middle layer, where the most concepts are; the middle name
    where there is none.
    """
    streams = [name for name in names if name.endswith("hook_resid_post")]
    chosen = streams or list(names)
    return chosen[len(chosen) // 2] if chosen else ""
