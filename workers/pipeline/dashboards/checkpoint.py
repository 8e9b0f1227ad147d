"""A scan put down on disk and taken up again: one safetensors file per SAE, and nothing that is
executed when it is read.

A tensor that is mostly zeros (pairs that never fire together) is stored as the others' places and
values where that is smaller.
"""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from features.records import InvalidInput
from workers.pipeline.dashboards.accumulator import DashboardSettings, Tally
from workers.pipeline.dashboards.corpus_pass import Scan

FORMAT = "featurescope tally 2"
PLACES, VALUES = "|places", "|values"


def save(scan: Scan, folder: Path, made_from: str) -> Path:
    """Write a scan into `folder`, which is made; returns it. `made_from` names all that the tallies
    depend on.
    """
    folder.mkdir(parents=True)
    facts = {
        "format": FORMAT,
        "made_from": made_from,
        "batches": str(scan.batches),
        "complete": str(int(scan.complete)),
    }
    for number, tally in enumerate(scan.tallies):
        packed, shapes = _packed(tally.tensors())
        save_file(packed, folder / f"{number}.safetensors", {**facts, "shapes": json.dumps(shapes)})
    return folder


def load(
    folder: Path, settings: DashboardSettings, device: torch.device | str, made_from: str
) -> Scan:
    """Return the scan that was saved in `folder`. `InvalidInput("sae")` where it was made from
    something else, or is no scan.
    """
    tallies: list[Tally] = []
    facts: dict[str, str] = {}
    for path in sorted(folder.glob("*.safetensors"), key=lambda path: int(path.stem)):
        try:
            with safe_open(path, "pt") as file:
                facts = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no dict
        except (OSError, SafetensorError) as error:
            raise InvalidInput("sae", f"{path.name} is not a tally: {error}") from error
        if (facts.get("format"), facts.get("made_from")) != (FORMAT, made_from):
            raise InvalidInput(
                "sae",
                "The SAE, the model, the corpus or the program changed since the reading began.",
            )
        tallies.append(
            Tally.from_tensors(_unpacked(tensors, json.loads(facts["shapes"])), settings, device)
        )
    if not tallies:
        raise InvalidInput("sae", "There is no tally where one was kept; was it deleted?")
    return Scan(tallies, int(facts["batches"]), facts["complete"] == "1")


def _packed(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, list[int]]]:
    """The tensors as they are stored, and the shapes of those whose zeros are left out."""
    packed: dict[str, Tensor] = {}
    shapes: dict[str, list[int]] = {}
    for name, tensor in tensors.items():
        flat = tensor.contiguous().cpu().flatten()
        place = torch.int32 if len(flat) < 2**31 else torch.int64
        kept = flat != 0
        if int(kept.sum()) * (place.itemsize + flat.itemsize) < flat.nbytes:
            packed |= {name + PLACES: kept.nonzero()[:, 0].to(place), name + VALUES: flat[kept]}
            shapes[name] = list(tensor.shape)
        else:
            packed[name] = tensor.contiguous().cpu()
    return packed, shapes


def _unpacked(packed: dict[str, Tensor], shapes: dict[str, list[int]]) -> dict[str, Tensor]:
    tensors = {
        name: tensor for name, tensor in packed.items() if not name.endswith((PLACES, VALUES))
    }
    for name, shape in shapes.items():
        values = packed[name + VALUES]
        tensor = torch.zeros(torch.Size(shape).numel(), dtype=values.dtype)
        tensor[packed[name + PLACES].long()] = values
        tensors[name] = tensor.view(shape)
    return tensors
