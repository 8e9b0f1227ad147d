"""Load and save SAEs in SAELens's folder format, in float32.

    load        config, weights -> fold the input scale -> inference form -> fold decoder norms
    save        write a temporary folder, then rename it

`load_sae` folds every scale into the weights (see `folding`). Then the activation of a feature is a
length along a unit decoder direction, in units of the model's own activations, however the SAE was
trained, and numbers of different features and SAEs can be compared.

`layer_norm` and `constant_norm_rescale` depend on the token and remain in the SAE, whose
activations are then in units of the normalized token. `hook_z` comes flattened, so the SAE does
not reshape it.
"""

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

from sae_lens import SAE, TrainingSAE
from sae_lens.registry import SAE_CLASS_REGISTRY
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from features.records import InvalidInput
from workers.pipeline.sae.folder import SCALER, SPARSITY, WEIGHTS, explain_load_error, load_config
from workers.pipeline.sae.folding import (
    fold_decoder_norms,
    fold_input_scale,
    inference_form,
    require_finite,
)
from workers.pipeline.sae.setting_values import CONFIG

HASH_CHUNK_BYTES = 1 << 20


def load_sae(folder: str, device: str = "cpu") -> SAE[Any]:
    """Load the SAE in `folder` for inference: W_enc [d_in, d_sae], W_dec [d_sae, d_out], no
    gradients.

    Raises `InvalidInput("source")` if a file is missing, tensors do not match the configuration, or
    a weight is not finite.
    """
    path = Path(folder)
    config = load_config(path)
    try:
        sae = _load_inference_form(path, config, device)
    except InvalidInput:
        raise
    except (SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise InvalidInput("source", explain_load_error(path, config, error)) from error
    require_finite(sae, WEIGHTS)
    expected_shape = (sae.cfg.d_in, sae.cfg.d_sae)
    if tuple(sae.W_enc.shape) != expected_shape:
        message = f"W_enc is {tuple(sae.W_enc.shape)}, {CONFIG} says {expected_shape}."
        raise InvalidInput("source", message)
    fold_decoder_norms(sae)
    sae.turn_off_forward_pass_hook_z_reshaping()
    return sae.eval().requires_grad_(False)


def save_sae(sae: SAE[Any], folder: str, log_density: Tensor | None = None) -> str:
    """Write `sae` to `folder` in one step, replacing its content, and return its `content_hash`.

    `log_density` [d_sae] is log10 of the share of tokens that each feature fires on, for SAELens's
    sparsity file.
    """
    target = Path(folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    if isinstance(sae, TrainingSAE):
        sae.save_inference_model(partial)
    else:
        sae.save_model(partial)
    if log_density is not None:
        save_file({"sparsity": log_density.float().cpu().contiguous()}, partial / SPARSITY)
    replace_folder(partial, target)
    return content_hash(folder)


def content_hash(folder: str) -> str:
    """Return the SHA-256, in hex, of an SAE folder's configuration, weights and input scale."""
    digest = hashlib.sha256()
    for name in (CONFIG, WEIGHTS, SCALER):
        path = Path(folder) / name
        if name == SCALER and not path.is_file():
            continue
        with path.open("rb") as file:
            while chunk := file.read(HASH_CHUNK_BYTES):
                digest.update(chunk)
    return digest.hexdigest()


def replace_folder(partial: Path, target: Path) -> None:
    """Rename the complete folder `partial` to `target`, replacing it.

    A concurrent reader sees the old folder, none, or the new one, never a part of it.
    """
    partial.chmod(0o755)  # mkdtemp makes folders that only their owner can read
    if target.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent)) / "old"
        target.rename(old)
        partial.rename(target)
        shutil.rmtree(old.parent)
    else:
        partial.rename(target)


def _load_inference_form(path: Path, config: dict[str, Any], device: str) -> SAE[Any]:
    """The SAE with its input scale folded, but not its decoder norms."""
    is_training_checkpoint = "decoder_init_norm" in config
    if not is_training_checkpoint and config["architecture"] in SAE_CLASS_REGISTRY:
        sae: SAE[Any] = SAE.load_from_disk(path, device=device, dtype="float32")
        fold_input_scale(sae, path)
        return sae
    training_sae: TrainingSAE[Any] = TrainingSAE.load_from_disk(
        path, device=device, dtype="float32"
    )
    fold_input_scale(training_sae, path)
    return inference_form(training_sae)
