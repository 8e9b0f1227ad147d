"""SAELens's registry of published SAEs, in the short form that the website reads: `python -m
workers.saelens_registry` writes it.

The website has no SAELens and must list the registry offline, so the file comes with the code; a
test compares it with the package that is installed. One line of JSON per release; hook and width
are read from names, as SAELens does, and null where a name does not tell them.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from sae_lens.loading.pretrained_saes_directory import (
    PretrainedSAELookup,
    get_pretrained_saes_directory,
)

from features.saelens_registry import FILE

SITES = {"res": "hook_resid_post", "mlp": "hook_mlp_out", "att": "attn.hook_z"}
WIDTHS = [
    (re.compile(r"width[_-](\d+)(k|m)(?![a-z])"), 0),
    (re.compile(r"width-2pow(\d+)"), 1),
    (re.compile(r"[-_/]v5_(\d+)(k)_|-w-?(\d+)k|[-_]w(\d+)k|-W(\d+)K-"), 2),
    (re.compile(r"_(\d{4,7})(?:_|$|:)"), 3),
]
LLAMA_WIDTH = 4096


def lines() -> Iterator[str]:
    """The file's lines, releases by name."""
    for name, release in sorted(get_pretrained_saes_directory().items()):
        saes = [_sae(release, sae_id, path) for sae_id, path in release.saes_map.items()]
        row = {
            "release": name,
            "model": release.model,
            "repo": release.repo_id,
            "form": release.conversion_func or "sae_lens",
        }
        yield json.dumps(row | {"saes": saes}, separators=(",", ":"), ensure_ascii=False)


def _sae(release: PretrainedSAELookup, sae_id: str, path: str) -> list[Any]:
    l0 = release.expected_l0.get(sae_id)
    return [
        sae_id,
        hook_of(release, sae_id, path),
        width_of(release, sae_id, path),
        round(l0, 2) if l0 else None,
    ]


def hook_of(release: PretrainedSAELookup, sae_id: str, path: str) -> str | None:
    """Where the SAE reads, by our name for it."""
    form, place = release.conversion_func, f"{release.repo_id}/{path}"
    if form == "gemma_2_transcoder" or "embedding" in path:
        return None  # where these read has no hook of ours
    if match := re.match(r"blocks\.(\d+)\.(hook_\w+?)(?:_\d+|__.*)?$", sae_id):
        return f"blocks.{match[1]}.{'attn.' if match[2] == 'hook_z' else ''}{match[2]}"
    layer = re.search(r"(?:layer_?|(?:^|/)l)(\d+)|^(\d+)$", sae_id) or re.search(
        r"layer_?(\d+)", path
    )
    if layer is None:
        return None
    number = layer[1] or layer[2]
    if form in ("mwhanna_transcoder", "mntss_clt_layer_transcoder") or "transcoder" in path:
        return f"blocks.{number}.mlp.hook_in"
    if form == "gemma_2":
        kind = next((site for site in SITES if f"-{site}" in release.repo_id), "res")
        return f"blocks.{number}.{SITES[kind]}"
    if form == "llama_scope":
        kind = {"r": "hook_resid_post", "m": "hook_mlp_out", "a": "hook_attn_out"}[
            sae_id.split("_")[0][-1]
        ]
        return f"blocks.{number}.{kind}"
    for part, site in (("mlp_out", "hook_mlp_out"), ("attn_out", "attn.hook_z")):
        if part in place:
            return f"blocks.{number}.{site}"
    return f"blocks.{number}.hook_resid_post"


def width_of(release: PretrainedSAELookup, sae_id: str, path: str) -> int | None:
    """How many features it has."""
    place = f"{release.repo_id}/{path} {sae_id}"
    for pattern, kind in WIDTHS:
        if match := pattern.search(place):
            number = int(next(group for group in match.groups() if group and group.isdigit()))
            if kind == 0:  # 16k, 65k and 1m are powers of two, rounded
                return 1 << round(math.log2(number * (10**6 if match[2] == "m" else 1000)))
            return 1 << number if kind == 1 else number * 1024 if kind == 2 else number
    if match := re.search(r"LX[AMR]-(\d+)x", release.repo_id):
        return LLAMA_WIDTH * int(match[1])
    return None


if __name__ == "__main__":
    FILE.write_text("".join(f"{line}\n" for line in lines()), encoding="utf-8")
