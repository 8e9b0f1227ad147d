"""Read SAEs in the formats of other libraries, in SAELens's terms, without running any of their
code.

    sparsify             cfg.json, sae.safetensors: TopK, transcoders with a skip connection
    Gemma Scope          params.npz: JumpReLU
    Gemma Scope 2        config.json, params.safetensors: JumpReLU, transcoders too

What they do not say, such as the model or the hook, has to be given when the SAE is added.
"""

import json
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from features.records import InvalidInput
from workers.pipeline.sae.folder import WEIGHTS
from workers.pipeline.sae.setting_values import CONFIG, short

Converted = tuple[dict[str, Any], dict[str, Tensor]]
"""A configuration of SAELens, and its tensors."""


class ForeignFormat(NamedTuple):
    """A format: its name, the files that a folder of it has, and how they are converted."""

    name: str
    files: tuple[str, ...]
    convert: Callable[[Path], Converted]


def find_format(names: set[str]) -> ForeignFormat | None:
    """Return the format of a folder with files of these paths, or None."""
    return next((form for form in FORMATS if set(form.files) <= names), None)


def convert_folder(folder: Path, form: ForeignFormat, target: Path) -> dict[str, Any]:
    """Write the SAE in `folder` to `target` in SAELens's format and return its configuration.

    Raises `InvalidInput("source")` if a file is damaged, or a setting or tensor is not understood.
    """
    try:
        config, weights = form.convert(folder)
    except InvalidInput:
        raise
    except (
        SafetensorError,
        zipfile.BadZipFile,
        OSError,
        EOFError,
        ArithmeticError,
        AttributeError,
        LookupError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        message = f"This is an SAE of {form.name} that cannot be read: {reason}"
        raise InvalidInput("source", message[:500]) from error
    target.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, target / WEIGHTS)
    (target / CONFIG).write_text(json.dumps(config))
    return config


def _read_sparsify(folder: Path) -> Converted:
    settings = _json(folder / CONFIG)
    tensors = load_file(folder / "sae.safetensors")
    known = {
        "expansion_factor", "normalize_decoder", "num_latents", "k", "d_in", "multi_topk",
        "signed", "activation", "transcode", "skip_connection", "hookpoint",
    }  # fmt: skip
    _refuse_unknown(settings, known, "sparsify")
    if settings.get("activation", "topk") != "topk":
        raise _unsupported("activation", settings["activation"])
    transcodes = bool(settings.get("transcode"))
    weights = {
        "W_enc": _two(tensors, "encoder.weight").T,
        "b_enc": tensors.pop("encoder.bias"),
        "W_dec": _two(tensors, "W_dec"),
        "b_dec": tensors.pop("b_dec"),
    }
    if "W_skip" in tensors:
        weights["W_skip"] = tensors.pop("W_skip")
    _refuse_tensors(tensors)
    d_in, d_sae = weights["W_enc"].shape
    if transcodes or "W_skip" in weights:
        raise InvalidInput(
            "source",
            "This is a transcoder of sparsify with a TopK encoder, which is not supported: SAELens "
            "has transcoders with ReLU and JumpReLU only.",
        )
    _same("d_in", settings.get("d_in", d_in), d_in)
    _same("num_latents", settings.get("num_latents") or d_sae, d_sae)
    config = {
        **_base("abstopk" if settings.get("signed") else "topk", d_in, d_sae),
        "k": settings["k"],
        "apply_b_dec_to_input": True,
        "metadata": _metadata(hf_hook_name=settings.get("hookpoint") or _module_path(folder)),
    }
    return config, weights


def _read_gemma_scope(folder: Path) -> Converted:
    with np.load(folder / "params.npz", allow_pickle=False) as file:
        tensors = {name: torch.from_numpy(file[name]) for name in file.files}
    weights = {
        "W_enc": _two(tensors, "W_enc"),
        "W_dec": _two(tensors, "W_dec"),
        **{name: tensors.pop(name) for name in ("b_enc", "b_dec", "threshold")},
    }
    _refuse_tensors(tensors)
    return _jumprelu(weights, {}), weights


def _read_gemma_scope_2(folder: Path) -> Converted:
    settings = _json(folder / "config.json")
    if settings.get("architecture") != "jump_relu":
        raise _unsupported("architecture", settings.get("architecture"))
    tensors = load_file(folder / "params.safetensors")
    weights = {
        "W_enc": _two(tensors, "w_enc"),
        "W_dec": _two(tensors, "w_dec"),
        **{name: tensors.pop(name) for name in ("b_enc", "b_dec", "threshold")},
    }
    if "affine_skip_connection" in tensors:
        weights["W_skip"] = tensors.pop("affine_skip_connection").T
    _refuse_tensors(tensors)
    metadata = {
        "model_name": settings.get("model_name"),
        "hf_hook_name": settings.get("hf_hook_point_in"),
        "hf_hook_name_out": settings.get("hf_hook_point_out"),
    }
    return _jumprelu(weights, metadata), weights


FORMATS = (
    ForeignFormat("sparsify", (CONFIG, "sae.safetensors"), _read_sparsify),
    ForeignFormat("Gemma Scope", ("params.npz",), _read_gemma_scope),
    ForeignFormat("Gemma Scope 2", ("config.json", "params.safetensors"), _read_gemma_scope_2),
)


def _jumprelu(weights: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> dict[str, Any]:
    d_in, d_sae = weights["W_enc"].shape
    d_out, architecture = weights["W_dec"].shape[-1], "jumprelu"
    if metadata.get("hf_hook_name_out") or "W_skip" in weights or d_out != d_in:
        architecture = "jumprelu_skip_transcoder" if "W_skip" in weights else "jumprelu_transcoder"
    config = {
        **_base(architecture, d_in, d_sae),
        "apply_b_dec_to_input": False,
        "metadata": _metadata(**metadata),
    }
    return config | ({"d_out": d_out} if "transcoder" in architecture else {})


def _base(architecture: str, d_in: int, d_sae: int) -> dict[str, Any]:
    return {
        "architecture": architecture,
        "d_in": d_in,
        "d_sae": d_sae,
        "dtype": "float32",
        "device": "cpu",
        "normalize_activations": "none",
        "reshape_activations": "none",
    }


def _metadata(**values: Any) -> dict[str, Any]:
    present = {name: value for name, value in values.items() if value}
    return {"sae_lens_version": "6.0.0", **present}


def _module_path(folder: Path) -> str:
    """The module that a folder of sparsify is named after, such as layers.5.mlp; empty if none."""
    pattern = r"(\w+\.)*(layers|h|blocks)\.\d+(\.\w+)*"
    return folder.name if re.fullmatch(pattern, folder.name) else ""


def _json(path: Path) -> dict[str, Any]:
    settings = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(settings, dict):
        raise InvalidInput("source", f"{path.name} is no JSON object of settings.")
    return settings


def _two(tensors: dict[str, Tensor], name: str) -> Tensor:
    """The tensor of that name, taken out of `tensors`, which must have two dimensions."""
    tensor = tensors.pop(name)
    if tensor.ndim != 2:
        message = f"{name} has the shape {list(tensor.shape)}, not two dimensions."
        raise InvalidInput("source", message)
    return tensor


def _same(name: str, said: Any, actual: int) -> None:
    if said != actual:
        message = f"{name} is {short(said)} in {CONFIG}, but {actual} in the weights."
        raise InvalidInput("source", message)


def _refuse_unknown(settings: Mapping[str, Any], known: set[str], name: str) -> None:
    if unknown := sorted(settings.keys() - known):
        raise InvalidInput(
            "source",
            f"{CONFIG} has {', '.join(unknown[:8])}, which are no settings of {name} that are "
            "known here and may change the activations. If they do not, remove them.",
        )


def _refuse_tensors(tensors: Mapping[str, Tensor]) -> None:
    if tensors:
        names = ", ".join(sorted(tensors)[:8])
        raise InvalidInput("source", f"The weights have tensors that are not understood: {names}.")


def _unsupported(name: str, value: Any) -> InvalidInput:
    return InvalidInput("source", f"{name} {short(value)} is not supported.")
