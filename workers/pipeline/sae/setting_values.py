"""The values that settings of an SAE's configuration may have: types, widths, k and the activation
function.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

CONFIG = "cfg.json"
TOPK_ARCHITECTURES = ("topk", "abstopk", "batchtopk", "matryoshka_batchtopk")
MAX_WIDTH = 1 << 26
TEXTS = ("model_name", "hook_name", "hook_point", "hook_name_out", "hf_hook_name")
RESHAPINGS = ("none", "hook_z")
SWITCHES = ("prepend_bos", "apply_b_dec_to_input", "rescale_acts_by_decoder_norm")
ACTIVATION_FUNCTIONS = ("activation_fn", "activation_fn_str")
NEUTRAL_OPTIONS = {
    "signed": (False,),
    "postact_fn": ("relu",),
    "use_sparse_activations": (True, False),
}


def value_problems(config: Mapping[str, Any], settings: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each setting whose value is none that it may have. `settings` are those
    of the configuration and its metadata together.
    """
    yield from _type_problems(settings)
    yield from _width_problems(config)
    yield from _activation_problems(config)


def short(value: Any) -> str:
    """Return the value as it is written in Python, cut to 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _type_problems(settings: Mapping[str, Any]) -> Iterator[str]:
    for name in TEXTS:
        if not isinstance(settings.get(name, ""), str):
            yield f"{name} is {short(settings[name])} in {CONFIG}; it must be a text."
    for name in SWITCHES:
        if not isinstance(settings.get(name, False), bool):
            yield f"{name} is {short(settings[name])} in {CONFIG}; it must be true or false."
    size = settings.get("context_size", 2)
    if not _is_whole_number(size) or size < 2:
        yield f"context_size is {short(size)} in {CONFIG}; it must be a whole number from 2."
    reshaping = settings.get("reshape_activations", "none")
    if reshaping not in RESHAPINGS:
        yield (f"reshape_activations is {short(reshaping)} in {CONFIG}; it must be none or hook_z.")
    positions = settings.get("seqpos_slice", [])
    if not isinstance(positions, list) or not all(
        part is None or _is_whole_number(part) for part in positions
    ):
        yield f"seqpos_slice is {short(positions)} in {CONFIG}, not a list of whole numbers."
    rule = settings.get("counted_tokens", {})
    if not isinstance(rule, dict) or not all(
        isinstance(value, int | float) for value in rule.values()
    ):
        yield f"counted_tokens is {short(rule)} in {CONFIG}, not an object of numbers."
    options = settings.get("model_from_pretrained_kwargs", {})
    if not isinstance(options, dict):
        yield f"model_from_pretrained_kwargs is {short(options)} in {CONFIG}, not an object."
    elif not isinstance(options.get("center_writing_weights") or False, bool):
        yield f"center_writing_weights is neither true nor false in {CONFIG}."


def _width_problems(config: Mapping[str, Any]) -> Iterator[str]:
    architecture = config.get("architecture", "standard")
    for name in ("d_in", "d_sae"):
        value = config.get(name)
        if not _is_width(value):
            yield f"{name} is {short(value)} in {CONFIG}; it must be a whole number above 0."
    d_out = config.get("d_out")
    if d_out is not None and "transcoder" not in str(architecture) and d_out != config.get("d_in"):
        yield (
            f"{CONFIG} has d_out {short(d_out)}, but an SAE of the architecture {architecture!r} "
            f"writes as many dimensions as it reads ({config.get('d_in')})."
        )
    if d_out is not None and not _is_width(d_out):
        yield f"d_out is {short(d_out)} in {CONFIG}; it must be a whole number above 0."
    if config.get("rescale_acts_by_decoder_norm") and architecture not in TOPK_ARCHITECTURES:
        yield (
            f"{CONFIG} has rescale_acts_by_decoder_norm, which the architecture {architecture!r} "
            "does not have: multiply encoder and thresholds by the decoder norms, and remove it."
        )


def _activation_problems(config: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the activation function, which is that of the architecture since SAELens 6
    and was a setting before.
    """
    architecture = config.get("architecture", "standard")
    functions = [config[name] for name in ACTIVATION_FUNCTIONS if config.get(name) is not None]
    for function in functions:
        if function not in ("relu", "topk"):
            yield (
                f"{CONFIG} has the activation function {short(function)}, which is not supported: "
                "the SAE would run as another. Supported are relu and topk."
            )
    options = config.get("activation_fn_kwargs") or {}
    if not isinstance(options, dict):
        yield f"activation_fn_kwargs is {short(options)} in {CONFIG}, not an object."
        return
    yield from _option_problems(options, config)
    if architecture in TOPK_ARCHITECTURES:
        k = config.get("k", options.get("k"))
        yield from _k_problems(k, architecture, config.get("d_sae"))
    elif "topk" in functions:
        yield from _k_problems(options.get("k"), architecture, config.get("d_sae"))
        if architecture != "standard" or not _is_before_version_6(config):
            yield (
                f"{CONFIG} has the activation function 'topk', and an architecture that has "
                f"another: {architecture!r}. Make it the architecture 'topk'."
            )


def _is_before_version_6(config: Mapping[str, Any]) -> bool:
    """Whether SAELens takes the configuration for one of its first versions."""
    version = config.get("sae_lens_version") or (config.get("metadata") or {}).get(
        "sae_lens_version"
    )
    number = re.match(r"\d+", str(version or "0"))
    return number is None or int(number[0]) < 6


def _option_problems(options: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        is_neutral = value is None or value in NEUTRAL_OPTIONS.get(name, ())
        is_abstopk = name == "signed" and config.get("architecture") == "abstopk"
        if name != "k" and not is_neutral and not is_abstopk:
            yield (
                f"{CONFIG} has {name} {short(value)} in activation_fn_kwargs, which is not "
                "supported."
            )
    k, other = config.get("k"), options.get("k")
    if k is not None and other is not None and k != other:
        yield f"k is {short(k)}, and {short(other)} in activation_fn_kwargs, in {CONFIG}."


def _k_problems(k: Any, architecture: Any, d_sae: Any) -> Iterator[str]:
    is_number = isinstance(k, int | float) and not isinstance(k, bool)
    if not is_number or not isinstance(d_sae, int) or not 0 < k <= d_sae:
        yield f"k is {short(k)} in {CONFIG}, but d_sae is {d_sae}: it must be in between."
    elif "batchtopk" not in str(architecture) and not isinstance(k, int):
        yield f"k is {k!r} in {CONFIG}; it must be a whole number."


def _is_width(value: Any) -> bool:
    return _is_whole_number(value) and 0 < value <= MAX_WIDTH


def _is_whole_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
