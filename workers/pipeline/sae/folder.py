"""What lies in an SAE's folder, checked before and explained after SAELens reads it."""

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

CONFIG, WEIGHTS, SPARSITY, SCALER = (
    "cfg.json",
    "sae_weights.safetensors",
    "sparsity.safetensors",
    "activation_scaler.json",
)
PICKLES = (".pt", ".pth", ".bin", ".pkl", ".ckpt", ".npz")
TOPK = ("topk", "abstopk", "batchtopk", "matryoshka_batchtopk")


def load_config(path: Path) -> dict[str, Any]:
    """The configuration of the SAE in `path`, with an architecture that can be read and sizes that
    make sense.

    `InvalidInput("source")` for a folder that is not one of an SAE, for pickles, and for what the
    configuration gets wrong.
    """
    if not path.is_dir():
        raise InvalidInput("source", f"There is no folder {path}.")
    names = sorted(file.name for file in path.iterdir())
    missing = [name for name in (CONFIG, WEIGHTS) if name not in names]
    if missing:
        pickles = [name for name in names if name.endswith(PICKLES) and name != "trainer_state.pt"]
        refused = (
            f" {pickles[0]} is a pickle, which may run code: convert it to safetensors."
            if pickles
            else ""
        )
        raise InvalidInput(
            "source",
            f"{path} has no {' and no '.join(missing)}, which an SAELens SAE has.{refused}",
        )
    try:
        config = json.loads((path / CONFIG).read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidInput("source", f"{CONFIG} is not JSON: {error}") from error
    if not isinstance(config, dict) or not isinstance(config.get("metadata", {}), dict):
        raise InvalidInput(
            "source", f"{CONFIG} is no JSON object of settings, with an object of metadata."
        )
    _check(config)
    return config


def explain_load_error(path: Path, config: dict[str, Any], error: Exception) -> str:
    """Why SAELens could not read the SAE in `path`: the tensors that disagree with the
    configuration, or else `error`.
    """
    try:
        with safe_open(path / WEIGHTS, "pt") as file:
            found = {name: list(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as broken:
        return f"{WEIGHTS} is not a whole safetensors file: {broken}"
    wanted = _shapes(config)
    lacking, extra = sorted(wanted.keys() - found), sorted(found.keys() - wanted)
    if wanted and (lacking or extra):
        parts = [f"lacks {', '.join(lacking)}"] * bool(lacking) + [
            f"has {', '.join(extra)} too much"
        ] * bool(extra)
        return (
            f"{WEIGHTS} {' and '.join(parts)}: {CONFIG} says {config['architecture']!r}, made "
            f"of {', '.join(wanted)}."
        )
    for name, shape in wanted.items():
        if found[name] != shape:
            return f"{name} is {found[name]} in {WEIGHTS}, but {CONFIG} makes it {shape}."
    what = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
    return f"{CONFIG} cannot be used: {what}"[:500]


def _check(config: dict[str, Any]) -> None:
    architecture = config.setdefault("architecture", "standard")  # the first SAEs did not say
    known = {*SAE_CLASS_REGISTRY, *SAE_TRAINING_CLASS_REGISTRY} - {
        "temporal"
    }  # reads contexts, not tokens
    if not isinstance(architecture, str) or architecture not in known:
        raise InvalidInput(
            "source",
            f"{CONFIG} names the architecture {architecture!r}; known are "
            f"{', '.join(sorted(known))}.",
        )
    for name in ("d_in", "d_sae"):
        if not isinstance(config.get(name), int) or config[name] < 1:
            raise InvalidInput(
                "source",
                f"{name} is {config.get(name)!r} in {CONFIG}; it must be a whole number above 0.",
            )
    if architecture in TOPK:
        k = config.get("k", (config.get("activation_fn_kwargs") or {}).get("k"))
        if not isinstance(k, int | float) or not 0 < k <= config["d_sae"]:
            raise InvalidInput(
                "source",
                f"k is {k!r} in {CONFIG}, but d_sae is {config['d_sae']}: it must be in between.",
            )


def _shapes(config: dict[str, Any]) -> dict[str, list[int]]:
    """The tensors that the configuration asks for; none where it cannot even be built."""
    name = config["architecture"]
    training = "decoder_init_norm" in config or name not in SAE_CLASS_REGISTRY
    cls, settings = get_sae_training_class(name) if training else get_sae_class(name)
    try:
        sae = cls(settings.from_dict({**config, "dtype": "float32", "device": "meta"}))
    except (TypeError, ValueError, KeyError, RuntimeError):
        return {}
    return {name: list(tensor.shape) for name, tensor in sae.state_dict().items()}
