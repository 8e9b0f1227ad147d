"""Checkpoints of a training run: one folder per checkpoint, complete or not there at all.

FOLDER/checkpoints/000000300000/            named by the number of tokens trained on
    run.json                                settings, stream position, time, failures
    NAME/                                   one folder per SAE, or none for a single SAE
        cfg.json, sae_weights.safetensors, trainer_state.pt, …    as SAELens writes them
"""

import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from features.records import InvalidInput
from workers.pipeline.sae.io import replace_folder
from workers.pipeline.training.architectures import TrainSettings
from workers.pipeline.training.sae_trainer import SaeTrainer

STATE_FILE = "run.json"
CHECKPOINTS_KEPT = 2
MAY_CHANGE = frozenset({"checkpoint_tokens", "log_tokens"})
"""Settings that may differ between a checkpoint and the run that resumes from it."""


def latest_checkpoint(folder: str) -> str | None:
    """Return the newest checkpoint in the training folder `folder`, or None."""
    checkpoints = _list_checkpoints(Path(folder))
    return str(checkpoints[-1]) if checkpoints else None


def save_checkpoint(
    folder: Path, tokens: int, trainers: Iterable[SaeTrainer], state: dict[str, Any]
) -> Path:
    """Save `trainers` and `state` as the checkpoint after `tokens` tokens, and return its folder.

    Older checkpoints are deleted, except the last `CHECKPOINTS_KEPT`, and so are the remains of
    checkpoints that were interrupted.
    """
    target = folder / "checkpoints" / f"{tokens:012d}"
    target.parent.mkdir(parents=True, exist_ok=True)
    for leftover in target.parent.glob(".*"):
        shutil.rmtree(leftover, ignore_errors=True)
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=target.parent))
    for trainer in trainers:
        trainer.save(partial)
    (partial / STATE_FILE).write_text(json.dumps(state))
    replace_folder(partial, target)
    for old in _list_checkpoints(folder)[:-CHECKPOINTS_KEPT]:
        shutil.rmtree(old)
    return target


def load_state(checkpoint: str, settings: Mapping[str, TrainSettings]) -> dict[str, Any]:
    """Return the state that `save_checkpoint` stored.

    Raises `InvalidInput("resume_from")` if `checkpoint` is not a checkpoint, or was written with
    other SAEs or settings.
    """
    try:
        state: dict[str, Any] = json.loads((Path(checkpoint) / STATE_FILE).read_text())
        stored = {
            name: TrainSettings._field_defaults | values
            for name, values in state["settings"].items()
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{checkpoint} is not a checkpoint of a training run."
        raise InvalidInput("resume_from", message) from error
    if set(stored) != set(settings):
        names = ", ".join(sorted(stored))
        raise InvalidInput("resume_from", f"{checkpoint} was written with other SAEs: {names}.")
    changed = {
        field
        for name, sae_settings in settings.items()
        for field, value in sae_settings._asdict().items()
        if field not in MAY_CHANGE and stored[name].get(field) != value
    }
    if changed:
        fields = ", ".join(sorted(changed))
        raise InvalidInput("resume_from", f"{checkpoint} was written with another {fields}.")
    return state


def _list_checkpoints(folder: Path) -> list[Path]:
    parent = folder / "checkpoints"
    if not parent.is_dir():
        return []
    return sorted(path for path in parent.iterdir() if path.name.isdigit())
