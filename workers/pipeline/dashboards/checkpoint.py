"""Save and load a scan of a corpus: one safetensors file per SAE, which holds no executable code.

A tensor that is mostly zeros (pairs of features that never fire together) is stored as the indices
and values of the other elements, if that is smaller.
"""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from features.records import InvalidInput
from workers.pipeline.dashboards.accumulator import DashboardSettings, FeatureAccumulator
from workers.pipeline.dashboards.corpus_pass import ScanState

FORMAT = "featurescope scan 4"
INDICES, VALUES = "|indices", "|values"


def save_checkpoint(scan: ScanState, folder: Path, made_from: str) -> Path:
    """Write a scan into `folder`, which is created, and return the folder.

    `made_from` identifies everything that the accumulators depend on.
    """
    folder.mkdir(parents=True)
    metadata = {
        "format": FORMAT,
        "made_from": made_from,
        "batches": str(scan.batches),
        "complete": str(int(scan.complete)),
    }
    for number, accumulator in enumerate(scan.accumulators):
        packed, shapes = _pack(accumulator.tensors())
        path = folder / f"{number}.safetensors"
        save_file(packed, path, {**metadata, "shapes": json.dumps(shapes)})
    return folder


def load_checkpoint(
    folder: Path, settings: DashboardSettings, device: torch.device | str, made_from: str
) -> ScanState:
    """Return the scan that was saved in `folder`.

    Raises `InvalidInput("sae")` if it is no scan, or was made from something else.
    """
    accumulators: list[FeatureAccumulator] = []
    metadata: dict[str, str] = {}
    for path in sorted(folder.glob("*.safetensors"), key=lambda path: int(path.stem)):
        metadata, tensors = _load_file(path)
        if (metadata.get("format"), metadata.get("made_from")) != (FORMAT, made_from):
            raise InvalidInput(
                "sae",
                "The SAE, the model, the corpus or the program changed since the reading began.",
            )
        unpacked = _unpack(tensors, json.loads(metadata["shapes"]))
        accumulators.append(FeatureAccumulator.from_tensors(unpacked, settings, device))
    if not accumulators:
        raise InvalidInput("sae", "There is no checkpoint in the job's folder; was it deleted?")
    return ScanState(accumulators, int(metadata["batches"]), metadata["complete"] == "1")


def _load_file(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no dict
            return file.metadata() or {}, tensors
    except (OSError, SafetensorError) as error:
        raise InvalidInput("sae", f"{path.name} is not a checkpoint: {error}") from error


def _pack(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, list[int]]]:
    """Return the tensors to store, and the shapes of those that are stored without their zeros."""
    packed: dict[str, Tensor] = {}
    shapes: dict[str, list[int]] = {}
    for name, tensor in tensors.items():
        flat = tensor.contiguous().cpu().flatten()
        index_type = torch.int32 if len(flat) < 2**31 else torch.int64
        nonzero = flat != 0
        if int(nonzero.sum()) * (index_type.itemsize + flat.itemsize) < flat.nbytes:
            packed[name + INDICES] = nonzero.nonzero()[:, 0].to(index_type)
            packed[name + VALUES] = flat[nonzero]
            shapes[name] = list(tensor.shape)
        else:
            packed[name] = tensor.contiguous().cpu()
    return packed, shapes


def _unpack(packed: dict[str, Tensor], shapes: dict[str, list[int]]) -> dict[str, Tensor]:
    tensors = {
        name: tensor for name, tensor in packed.items() if not name.endswith((INDICES, VALUES))
    }
    for name, shape in shapes.items():
        values = packed[name + VALUES]
        tensor = torch.zeros(torch.Size(shape).numel(), dtype=values.dtype)
        tensor[packed[name + INDICES].long()] = values
        tensors[name] = tensor.view(shape)
    return tensors
