"""Every setting of an SAE's configuration: what is done with it.

    honoured     read, and its value is valid
    no effect    about training only: the weights do not need it to be run
    refused      unless its value is neutral: it would change the numbers, and is not implemented
    noted        unless its value is neutral: worth knowing, changes no activation
    unknown      noted; at the top refused if its name says that it may change activations

The names are those of SAELens's configurations since its first release, at the top and in
`metadata`.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from features.records import InvalidInput
from workers.pipeline.sae.setting_values import CONFIG, short, value_problems


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


HONOURED = _names(
    """
    architecture d_in d_sae d_out k apply_b_dec_to_input normalize_activations
    reshape_activations rescale_acts_by_decoder_norm max_iterations residual_threshold
    stop_on_duplicate_support activation_fn activation_fn_str activation_fn_kwargs metadata
    model_name model_revision hook_name hook_point hook_name_out hf_hook_name hf_hook_name_out
    hook_layer hook_point_layer context_size prepend_bos model_from_pretrained_kwargs
    sae_lens_version training_architecture training_architecture_details counted_tokens
    """
)
NO_EFFECT = _names(
    """
    dtype device sae_lens_training_version neuronpedia_id l0 num_dead_features decoder_init_norm
    l1_coefficient l1_warm_up_steps lp_norm l0_coefficient l0_warm_up_steps target_l0
    aux_loss_coefficient pre_act_loss_coefficient mse_loss_normalization noise_scale
    scale_sparsity_penalty_by_decoder_norm normalize_sae_decoder use_ghost_grads
    jumprelu_bandwidth jumprelu_init_threshold jumprelu_sparsity_loss_mode jumprelu_tanh_scale
    jumprelu_ste_to_input topk_threshold_lr matryoshka_widths use_matryoshka_aux_loss
    use_sparse_activations b_dec_init_method decoder_orthogonal_init decoder_heuristic_init
    decoder_heuristic_init_norm init_encoder_as_decoder_transpose expansion_factor
    from_pretrained_path lr lr_end lr_scheduler_name lr_warm_up_steps lr_decay_steps
    n_restart_cycles adam_beta1 adam_beta2 seed dead_feature_threshold dead_feature_window
    feature_sampling_window finetuning_tokens finetuning_method training_tokens
    total_training_tokens train_batch_size train_batch_size_tokens n_batches_for_norm_estimate
    dataset_path dataset_trust_remote_code is_dataset_tokenized is_dataset_on_disk streaming
    exclude_special_tokens sequence_separator_token disable_concat_sequences store_batch_size
    store_batch_size_prompts n_batches_in_buffer tokens_per_buffer activations_mixing_fraction
    use_cached_activations cached_activations_path act_store_device llm_device
    prefetch_llm_batches model_class_name model_kwargs autocast autocast_lm compile_llm
    compile_sae llm_compilation_mode sae_compilation_mode
    logger log_to_wandb log_activations_store_to_wandb log_optimizer_state_to_wandb
    log_weights_to_wandb wandb_project wandb_id wandb_entity wandb_log_frequency run_name
    eval_every_n_wandb_logs n_eval_batches eval_batch_size_prompts n_eval_seqs hook_eval resume
    resume_from_checkpoint n_checkpoints checkpoint_path save_final_checkpoint output_path
    verbose
    """
)
MODEL_OPTIONS_HONOURED = frozenset({"center_writing_weights"})
MODEL_OPTIONS_WITHOUT_EFFECT = _names(
    """
    center_unembed device device_map dtype torch_dtype n_ctx n_devices move_to_device
    default_padding_side default_prepend_bos trust_remote_code local_files_only cache_dir
    low_cpu_mem_usage attn_implementation fold_ln refactor_factored_attn_matrices
    """
)
"""Options that leave the activations at our hooks as they are. `fold_ln` moves the gain of a norm
into the weights after it, and no hook is in between.
"""
MAY_CHANGE_ACTIVATIONS = re.compile(
    r"scal|norm|activation|relu|bias|b_dec|skip|thresh|clip|sign|whiten|cent(er|re)|mean|topk|"
    r"lora|rank|tied|head|mask|group|decay_in|shift|offset|transform|quant",
    re.IGNORECASE,
)


class Rule(NamedTuple):
    """A setting that is only understood with the value None or one for which `is_neutral` is true.

    `problem` says what another value means and what to do.
    """

    is_neutral: Callable[[Any], bool]
    problem: str


def _is_off(value: Any) -> bool:
    return value is False


def _reaches_the_end(value: Any) -> bool:
    """A slice of positions that leaves out none but the first, which the worker leaves out too."""
    return isinstance(value, list) and value[1:] in ([], [None], [None, None], [None, 1])


ONE_HEAD = Rule(
    lambda _: False,
    "it reads one head of the hook, and only SAEs of all heads are supported.",
)
REFUSED = {
    "hook_head_index": ONE_HEAD,
    "hook_point_head_index": ONE_HEAD,
    "hook_head_index_out": ONE_HEAD,
    "finetuning_scaling_factor": Rule(
        _is_off,
        "its features have scales of their own. Multiply the rows of W_dec by the tensor "
        "finetuning_scaling_factor, remove the tensor, and set it to false.",
    ),
    "signed": Rule(
        _is_off,
        "activations may be negative. Write it as the architecture “abstopk”.",
    ),
}
NOTED = {
    "seqpos_slice": Rule(
        _reaches_the_end,
        "it was trained on these positions of a context only. Those before them do not count here "
        "either, unless the job says so; those after them do.",
    ),
    "use_chat_formatting": Rule(
        _is_off, "it was trained on chats with the model's chat template, and is run on plain text."
    ),
}


def check_settings(config: Mapping[str, Any]) -> None:
    """Raise `InvalidInput("source")` if a setting would change the activations of the SAE with this
    configuration and is not implemented, or has no valid value.
    """
    for problem in _problems(config):
        raise InvalidInput("source", problem)


def describe_settings(config: Mapping[str, Any]) -> list[str]:
    """Return a sentence for every setting that changes no activation and is not used, but not for
    those known to be about training only.
    """
    settings = flatten_settings(config)
    notes = [
        f"{CONFIG} has {name} {settings[name]!r}: {rule.problem}"
        for name, rule in NOTED.items()
        if not _is_neutral(rule, settings.get(name))
    ]
    notes += _model_option_notes(settings)
    notes += _layer_notes(settings)
    if unknown := [name for name in settings if not is_known(name)]:
        names = ", ".join(sorted(unknown)[:12]) + (" …" if len(unknown) > 12 else "")
        notes.append(f"{CONFIG} has settings that are not known here and are not used: {names}.")
    return notes


def flatten_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings at the top of a configuration and in its metadata, without empty ones."""
    metadata = config.get("metadata")
    settings = {**config, **(metadata if isinstance(metadata, dict) else {})}
    return {name: value for name, value in settings.items() if value is not None}


def is_known(name: str) -> bool:
    """Whether it is known what the setting does."""
    return name in HONOURED | NO_EFFECT or name in REFUSED or name in NOTED


def _problems(config: Mapping[str, Any]) -> Iterator[str]:
    settings = flatten_settings(config)
    for name, rule in REFUSED.items():
        if not _is_neutral(rule, settings.get(name)) and not _is_abstopk(name, settings):
            yield f"{CONFIG} has {name} {short(settings[name])}: {rule.problem}"
    yield from value_problems(config, settings)
    for name, value in config.items():
        if not is_known(name) and MAY_CHANGE_ACTIVATIONS.search(name) and not _is_empty(value):
            yield (
                f"{CONFIG} has the setting {name} {short(value)}, which is not known here and may "
                f"change the activations. If it does not, remove it from {CONFIG}."
            )


def _model_option_notes(settings: Mapping[str, Any]) -> Iterator[str]:
    options = settings.get("model_from_pretrained_kwargs", {})
    unknown = options.keys() - MODEL_OPTIONS_HONOURED - MODEL_OPTIONS_WITHOUT_EFFECT
    in_effect = sorted(name for name in unknown if options[name] not in (None, False))
    if in_effect:
        listed = ", ".join(f"{name} {short(options[name])}" for name in in_effect)
        yield (
            f"It was trained on a model that was loaded with {listed}, and is run on the model as "
            "it is."
        )


def _layer_notes(settings: Mapping[str, Any]) -> Iterator[str]:
    layer = settings.get("hook_layer", settings.get("hook_point_layer"))
    hook = settings.get("hook_name", settings.get("hook_point", ""))
    named = re.search(r"\.(\d+)(?:\.|$)", hook) if isinstance(hook, str) else None
    if layer is not None and named and str(layer) != named[1]:
        yield f"{CONFIG} has hook_layer {short(layer)}, but names the hook {hook}, which is used."


def _is_neutral(rule: Rule, value: Any) -> bool:
    return value is None or rule.is_neutral(value)


def _is_abstopk(name: str, settings: Mapping[str, Any]) -> bool:
    return name == "signed" and settings.get("architecture") == "abstopk"


def _is_empty(value: Any) -> bool:
    return value is None or value is False or value in ("", "none", [], {})
