"""The files of an SAE folder in SAELens's format: checks before SAELens loads them, and an
explanation if it cannot.
"""

import json
from pathlib import Path
from typing import Any

from sae_lens.registry import (
    SAE_CLASS_REGISTRY,
    SAE_TRAINING_CLASS_REGISTRY,
    get_sae_class,
    get_sae_training_class,
)
from safetensors import SafetensorError, safe_open

from features.records import InvalidInput
from workers.pipeline.data.lfs import refuse_pointers
from workers.pipeline.sae.setting_values import CONFIG, short
from workers.pipeline.sae.settings import check_settings

WEIGHTS = "sae_weights.safetensors"
SPARSITY = "sparsity.safetensors"
SCALER = "activation_scaler.json"
RULE_METADATA = "counted_tokens"
"""The key of the metadata under which SAEs that are trained here store their `CountingRule`."""
FOLDER_FILES = (CONFIG, WEIGHTS, SPARSITY, SCALER)
PICKLES = (".pt", ".pth", ".bin", ".pkl", ".ckpt")
TEMPORAL = "temporal"
"""An architecture of SAELens that is not supported: it encodes contexts, not tokens."""


def load_config(path: Path) -> dict[str, Any]:
    """Load the configuration of the SAE in the folder `path`.

    Raises `InvalidInput("source")` if files are missing or pickled, or if the architecture, the
    widths or k are invalid.
    """
    _check_files(path)
    try:
        config = json.loads((path / CONFIG).read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise InvalidInput("source", f"{CONFIG} is not JSON: {error}") from error
    if not isinstance(config, dict) or not isinstance(config.get("metadata", {}), dict):
        message = f"{CONFIG} is no JSON object of settings, with an object of metadata."
        raise InvalidInput("source", message)
    config.setdefault("architecture", "standard")  # the first SAEs had no other
    _check_config(config)
    return config


def explain_load_error(path: Path, config: dict[str, Any], error: Exception) -> str:
    """Return why SAELens could not load the SAE in `path`: the tensors that do not match the
    configuration, or else the text of `error`.
    """
    try:
        with safe_open(path / WEIGHTS, "pt") as file:
            shapes = {name: list(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as file_error:
        return f"{WEIGHTS} is not a whole safetensors file: {file_error}"
    expected = _expected_shapes(config)
    missing, extra = sorted(expected.keys() - shapes), sorted(shapes.keys() - expected)
    if expected and (missing or extra):
        parts = []
        if missing:
            parts.append(f"lacks {', '.join(missing)}")
        if extra:
            parts.append(f"has {', '.join(extra)} too much")
        return (
            f"{WEIGHTS} {' and '.join(parts)}: {CONFIG} says {config['architecture']!r}, made "
            f"of {', '.join(expected)}."
        )
    for name, shape in expected.items():
        if shapes[name] != shape:
            return f"{name} is {shapes[name]} in {WEIGHTS}, but {CONFIG} makes it {shape}."
    reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
    return f"{CONFIG} cannot be used: {reason}"[:500]


def _check_files(path: Path) -> None:
    if not path.is_dir():
        raise InvalidInput("source", f"There is no folder {path}.")
    names = sorted(file.name for file in path.iterdir())
    missing = [name for name in (CONFIG, WEIGHTS) if name not in names]
    if not missing:
        refuse_pointers(path / name for name in FOLDER_FILES)
        return
    message = f"{path} has no {' and no '.join(missing)}, which an SAELens SAE has."
    raise InvalidInput("source", f"{message} {_describe_contents(names)}".strip())


def _describe_contents(names: list[str]) -> str:
    """What a folder that is not in SAELens's format has instead, and the way in."""
    pickles = [name for name in names if name.endswith(PICKLES) and name != "trainer_state.pt"]
    if "hyperparams.json" in names:
        return "It is an SAE of Llama Scope: import it as release:id of SAELens's registry."
    if pickles:
        origin = ""
        if "ae.pt" in pickles:
            origin = " It is in the format of dictionary_learning."
        elif pickles[0].endswith(".pth"):
            origin = " Goodfire publishes such files."
        return (
            f"{pickles[0]} is a pickle, which may run code: convert it to safetensors.{origin} "
            "SAELens loads formats of other libraries, and its save_model writes such a folder."
        )
    if weights := [name for name in names if name.endswith(".safetensors")]:
        return (
            f"It has {', '.join(weights[:3])}. A folder of sparsify has {CONFIG} and "
            f"sae.safetensors; another is read once its tensors are W_enc [d_in, d_sae], W_dec, "
            f"b_enc and b_dec in {WEIGHTS}, with their architecture in {CONFIG}."
        )
    if archives := [name for name in names if name.endswith((".zip", ".tar", ".gz", ".tgz"))]:
        return f"Unpack {archives[0]}, and give the folder that it makes."
    return ""


def _check_config(config: dict[str, Any]) -> None:
    architecture = config["architecture"]
    supported = {*SAE_CLASS_REGISTRY, *SAE_TRAINING_CLASS_REGISTRY} - {TEMPORAL}
    if not isinstance(architecture, str) or architecture not in supported:
        raise InvalidInput(
            "source",
            f"{CONFIG} names the architecture {short(architecture)}; known are "
            f"{', '.join(sorted(supported))}.",
        )
    check_settings(config)


def _expected_shapes(config: dict[str, Any]) -> dict[str, list[int]]:
    """Shapes of the tensors of the configuration, or none if no SAE can be built from it."""
    architecture = config["architecture"]
    if "decoder_init_norm" in config or architecture not in SAE_CLASS_REGISTRY:
        sae_class, config_class = get_sae_training_class(architecture)
    else:
        sae_class, config_class = get_sae_class(architecture)
    try:
        on_meta_device = {**config, "dtype": "float32", "device": "meta"}
        sae = sae_class(config_class.from_dict(on_meta_device))
    except (TypeError, ValueError, KeyError, RuntimeError):
        return {}
    return {name: list(tensor.shape) for name, tensor in sae.state_dict().items()}
