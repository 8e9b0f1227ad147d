"""Convert a published SAE of another format to SAELens's format with SAELens's own loaders.

The loaders download files from the hub by name, at no particular commit and without progress. They
are given files that were downloaded before instead (`_hub_replaced_by`).
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from huggingface_hub.errors import LocalEntryNotFoundError
from sae_lens import SAE
from sae_lens.loading import pretrained_sae_loaders as saelens_loaders
from sae_lens.loading.pretrained_saes_directory import get_config_overrides
from sae_lens.training.activation_scaler import ActivationScaler
from safetensors import SafetensorError, safe_open

from features.records import InvalidInput
from workers.pipeline.sae.folder import FOLDER_FILES, SCALER, load_config
from workers.pipeline.sae.setting_values import CONFIG

FILES_OF_FORMAT: dict[str, tuple[str, ...]] = {
    "sae_lens": tuple(f"{{0}}/{name}" for name in FOLDER_FILES),
    "gemma_2": ("{0}/params.npz",),
    "gemma_2_transcoder": ("{0}/params.npz", "{0}/config.yaml"),
    "gemma_3": ("{0}/config.json", "{0}/params.safetensors", "{0}.safetensors"),
    "llama_scope": ("{0}/hyperparams.json", "{0}/checkpoints/final.safetensors"),
    "llama_scope_r1_distill": ("{0}/config.json", "{0}/sae_weights.safetensors"),
    "mwhanna_transcoder": ("wandb-config.yaml", "wanb-config.yaml", "config.yaml", "{0}"),
    "mntss_clt_layer_transcoder": ("config.yaml", "W_enc_{0}.safetensors", "W_dec_{0}.safetensors"),
}
"""The files that SAELens's loader of each format may ask for. {0} is the registry's path."""


class RegistryEntry(NamedTuple):
    """An SAE of SAELens's registry: `path` in the hub repository `repository`, in `format`."""

    release: str
    sae_id: str
    repository: str
    path: str
    format: str


def convert(
    entry: RegistryEntry, files: dict[str, Path], input_scale: float | None, target: Path
) -> dict[str, Any]:
    """Write the SAE in `files` (path in the repository to local path) to the folder `target`.

    `input_scale` is the factor that the registry gives for the inputs. Returns the SAE's
    configuration. Raises `InvalidInput("source")` if SAELens cannot load the files.
    """
    overrides = get_config_overrides(entry.release, entry.sae_id)
    overrides = {name: value for name, value in overrides.items() if value is not None}
    if entry.format == "sae_lens":
        target.mkdir(parents=True, exist_ok=True)
        for name, path in files.items():
            shutil.copyfile(path, target / Path(name).name)
        config = _with_overrides(load_config(target), overrides)
        (target / CONFIG).write_text(json.dumps(config))
    else:
        config = _convert_with_saelens(entry, overrides, files, target)
    scaled = config.get("normalize_activations") == "expected_average_only_in"
    if scaled and input_scale is not None:
        ActivationScaler(scaling_factor=input_scale).save(str(target / SCALER))
    return config


def _convert_with_saelens(
    entry: RegistryEntry, overrides: dict[str, Any], files: dict[str, Path], target: Path
) -> dict[str, Any]:
    load = saelens_loaders.NAMED_PRETRAINED_SAE_LOADERS[entry.format]
    options = {**overrides, "device": "cpu", "dtype": "float32"}
    try:
        with _hub_replaced_by(files):
            config, weights, _ = load(entry.repository, entry.path, "cpu", False, options)
        config = saelens_loaders.handle_config_defaulting(config)
        sae: SAE[Any] = SAE.from_dict(config)
        sae.process_state_dict_for_loading(weights)
        sae.load_state_dict({name: tensor.contiguous() for name, tensor in weights.items()})
        sae.save_model(target)
    except (SafetensorError, OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        location = f"{entry.repository}/{entry.path} ({entry.format})"
        raise InvalidInput("source", f"SAELens cannot read {location}: {error}"[:500]) from error
    return dict(config)


@contextmanager
def _hub_replaced_by(files: dict[str, Path]) -> Iterator[None]:
    """Let SAELens's loaders find `files` in place of the hub."""

    def local_path(repo_id: str, filename: str, subfolder: str = "", **_: Any) -> str:
        path = f"{subfolder}/{filename}" if subfolder else filename
        if path not in files:
            raise LocalEntryNotFoundError(f"{repo_id} has no {path}.")
        return str(files[path])

    def tensor_shapes(repo_id: str, filename: str) -> dict[str, list[int]]:
        with safe_open(local_path(repo_id, filename), "pt") as file:
            return {name: list(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118

    with _replaced_attributes(
        saelens_loaders, hf_hub_download=local_path, get_safetensors_tensor_shapes=tensor_shapes
    ):
        yield


@contextmanager
def _replaced_attributes(module: ModuleType, **replacements: Any) -> Iterator[None]:
    """Set attributes of `module` and restore them at the end. They must exist."""
    originals = {name: getattr(module, name) for name in replacements}
    try:
        for name, replacement in replacements.items():
            setattr(module, name, replacement)
        yield
    finally:
        for name, original in originals.items():
            setattr(module, name, original)


def _with_overrides(config: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """The configuration with the registry's overrides. Newer configurations keep those about the
    model in `metadata`.
    """
    if not isinstance(config.get("metadata"), dict):
        return config | overrides
    metadata = {
        name: value
        for name, value in overrides.items()
        if name in saelens_loaders.LLM_METADATA_KEYS
    }
    others = {name: value for name, value in overrides.items() if name not in metadata}
    return config | others | {"metadata": config["metadata"] | metadata}
