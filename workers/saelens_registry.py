"""Write SAELens's registry of published SAEs in the short form that the website loads.

    python -m workers.saelens_registry

The website has no SAELens and lists the registry offline, so the file is part of the code; a test
compares it with the installed package. It has one line of JSON per release:

    {"release", "model", "repo", "form", "saes": [[id, hook, width, expected L0], …]}

Hook and width are parsed from the names, as SAELens does, and null if a name does not say.
"""

import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from sae_lens.loading.pretrained_saes_directory import (
    PretrainedSAELookup,
    get_pretrained_saes_directory,
)

from features.saelens_registry import FILE

GEMMA_SITES = {"res": "hook_resid_post", "mlp": "hook_mlp_out", "att": "attn.hook_z"}
LLAMA_SITES = {"r": "hook_resid_post", "m": "hook_mlp_out", "a": "hook_attn_out"}
LLAMA_WIDTH = 4096
TRANSCODER_FORMATS = ("gemma_2_transcoder", "mwhanna_transcoder", "mntss_clt_layer_transcoder")


class _WidthPattern(NamedTuple):
    """A pattern whose first numeric group gives the width, through `width` of all groups."""

    pattern: re.Pattern[str]
    width: Callable[[list[str]], int]


def _rounded_power_of_two(groups: list[str]) -> int:
    """16k, 65k and 1m are powers of two, rounded."""
    number, unit = groups
    return 1 << round(math.log2(int(number) * (10**6 if unit == "m" else 1000)))


def _first_number(groups: list[str]) -> int:
    return next(int(group) for group in groups if group.isdigit())


WIDTH_PATTERNS = [
    _WidthPattern(re.compile(r"width[_-](\d+)(k|m)(?![a-z])"), _rounded_power_of_two),
    _WidthPattern(re.compile(r"width-2pow(\d+)"), lambda groups: 1 << _first_number(groups)),
    _WidthPattern(
        re.compile(r"[-_/]v5_(\d+)(k)_|-w-?(\d+)k|[-_]w(\d+)k|-W(\d+)K-"),
        lambda groups: 1024 * _first_number(groups),
    ),
    _WidthPattern(re.compile(r"_(\d{4,7})(?:_|$|:)"), _first_number),
]


def registry_lines() -> Iterator[str]:
    """The lines of the file, in order of releases."""
    for name, release in sorted(get_pretrained_saes_directory().items()):
        row = {
            "release": name,
            "model": release.model,
            "repo": release.repo_id,
            "form": release.conversion_func or "sae_lens",
            "saes": [_sae_row(release, *entry) for entry in release.saes_map.items()],
        }
        yield json.dumps(row, separators=(",", ":"), ensure_ascii=False)


def _sae_row(release: PretrainedSAELookup, sae_id: str, path: str) -> list[Any]:
    l0 = release.expected_l0.get(sae_id)
    hook, width = parse_hook(release, sae_id, path), parse_width(release, sae_id, path)
    return [sae_id, hook, width, round(l0, 2) if l0 else None]


def parse_hook(release: PretrainedSAELookup, sae_id: str, path: str) -> str | None:
    """The hook that the SAE reads, by our name for it."""
    if "embedding" in path:
        return None  # we have no such hook
    if match := re.match(r"blocks\.(\d+)\.(hook_\w+?)(?:_\d+|__.*)?$", sae_id):
        return f"blocks.{match[1]}.{'attn.' if match[2] == 'hook_z' else ''}{match[2]}"
    match = re.search(r"(?:layer_?|(?:^|/)l)(\d+)|^(\d+)$", sae_id) or re.search(
        r"layer_?(\d+)", path
    )
    if match is None:
        return None
    layer = match[1] or match[2]
    return f"blocks.{layer}.{_parse_site(release, sae_id, path)}"


def _parse_site(release: PretrainedSAELookup, sae_id: str, path: str) -> str:
    format_, location = release.conversion_func, f"{release.repo_id}/{path}"
    if format_ in TRANSCODER_FORMATS or "transcoder" in path:
        return "mlp.hook_in"
    if format_ == "gemma_2":
        site = next((name for name in GEMMA_SITES if f"-{name}" in release.repo_id), "res")
        return GEMMA_SITES[site]
    if format_ == "llama_scope":
        return LLAMA_SITES[sae_id.split("_")[0][-1]]
    if "mlp_out" in location:
        return "hook_mlp_out"
    if "attn_out" in location:
        return "attn.hook_z"
    return "hook_resid_post"


def parse_width(release: PretrainedSAELookup, sae_id: str, path: str) -> int | None:
    """The number of features."""
    names = f"{release.repo_id}/{path} {sae_id}"
    for pattern, width in WIDTH_PATTERNS:
        if match := pattern.search(names):
            return width([group for group in match.groups() if group])
    if match := re.search(r"LX[AMR]-(\d+)x", release.repo_id):
        return LLAMA_WIDTH * int(match[1])
    return None


if __name__ == "__main__":
    FILE.write_text("".join(f"{line}\n" for line in registry_lines()), encoding="utf-8")
