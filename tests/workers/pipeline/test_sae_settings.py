"""No setting of an SAE's configuration is ignored in silence: each is honoured, known to have no
effect, refused by name, or noted.
"""

import dataclasses
import json

import pytest
import torch
from sae_lens.config import LanguageModelSAERunnerConfig, LoggingConfig
from sae_lens.loading.pretrained_sae_loaders import LLM_METADATA_KEYS
from sae_lens.registry import SAE_CLASS_REGISTRY, SAE_TRAINING_CLASS_REGISTRY
from safetensors.torch import save_file

from features.records import InvalidInput
from workers.pipeline.sae.folder import CONFIG, TEMPORAL, WEIGHTS
from workers.pipeline.sae.io import load_sae
from workers.pipeline.sae.settings import check_settings, describe_settings, is_known

STANDARD = {"architecture": "standard", "d_in": 16, "d_sae": 32, "dtype": "float32"}
LEGACY_TOPK = {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 4}}
VERSION_6 = {"metadata": {"sae_lens_version": "6.5.0"}}

REFUSED = [
    ({"activation_fn_str": "tanh-relu"}, "tanh-relu"),
    ({"activation_fn": "tanh-relu"}, "tanh-relu"),
    ({"activation_fn": "gelu", **VERSION_6}, "gelu"),
    ({"activation_fn": ["relu"]}, "activation function"),
    ({"activation_fn_str": "topk"}, "k is None"),
    ({"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 0}}, "k is 0"),
    ({**LEGACY_TOPK, **VERSION_6}, "Make it the architecture 'topk'"),
    ({**LEGACY_TOPK, "architecture": "jumprelu"}, "jumprelu"),
    ({**LEGACY_TOPK, "activation_fn_kwargs": {"k": 4, "signed": True}}, "signed True"),
    ({**LEGACY_TOPK, "activation_fn_kwargs": {"k": 4, "postact_fn": "gelu"}}, "postact_fn 'gelu'"),
    ({"activation_fn_kwargs": {"threshold": 1.0}}, "threshold 1.0"),
    ({"activation_fn_kwargs": [4]}, "activation_fn_kwargs is"),
    ({"architecture": "topk", "k": 4.5}, "whole number"),
    ({"architecture": "topk", "k": True}, "k is True"),
    ({"architecture": "topk", "k": 4, "activation_fn_kwargs": {"k": 5}}, "k is 4, and 5"),
    ({"architecture": "abstopk", "k": 33}, "d_sae is 32"),
    ({"hook_head_index": 3}, "one head"),
    ({"metadata": {"hook_head_index": 0}}, "one head"),
    ({"hook_point_head_index": 1}, "one head"),
    ({"finetuning_scaling_factor": True}, "scales of their own"),
    ({"signed": True}, "abstopk"),
    ({"normalize_activations": "strange"}, "strange"),
    ({"normalize_activations": True, **VERSION_6}, "normalize_activations"),
    ({"normalize_activations": "covariance_whitening"}, "activation_scaler.json"),
    ({"normalize_activations": "expected_average_only_in"}, "activation_scaler.json"),
    ({"reshape_activations": "hook_q"}, "reshape_activations"),
    ({"apply_b_dec_to_input": "no"}, "apply_b_dec_to_input is 'no'"),
    ({"prepend_bos": 0}, "prepend_bos is 0"),
    ({"context_size": "128"}, "context_size is '128'"),
    ({"rescale_acts_by_decoder_norm": True}, "multiply encoder"),
    ({"d_out": 8}, "d_out 8"),
    ({"d_in": True}, "d_in is True"),
    ({"d_sae": 0}, "d_sae is 0"),
    ({"d_sae": 10**30}, "d_sae is 1000"),
    ({"model_from_pretrained_kwargs": "none"}, "not an object"),
    ({"seqpos_slice": 5}, "not a list"),
    ({"metadata": {"counted_tokens": {"norm_ratio": "10"}}}, "object of numbers"),
    ({"hook_name": ["blocks.0"]}, "hook_name is"),
    ({"activation_scale": 2.0}, "activation_scale 2.0"),
    ({"input_norm": "rms"}, "input_norm 'rms'"),
    ({"lora_rank": 4}, "lora_rank 4"),
]
NOTED = [
    ({"seqpos_slice": [5, 100]}, "these positions"),
    ({"metadata": {"seqpos_slice": [0, -1, 1]}}, "these positions"),
    ({"use_chat_formatting": True}, "chats"),
    ({"model_from_pretrained_kwargs": {"checkpoint_index": 3}}, "checkpoint_index 3"),
    ({"model_from_pretrained_kwargs": {"fold_value_biases": True}}, "fold_value_biases True"),
    ({"hook_layer": 4, "hook_name": "blocks.3.hook_resid_pre"}, "hook_layer 4"),
    ({"flavour": "mint"}, "not known here and are not used: flavour"),
    ({"metadata": {"sparsity_note": "x"}}, "sparsity_note"),
]
SILENT = [
    {},
    {"activation_fn_str": "relu", "activation_fn_kwargs": {}},
    {**LEGACY_TOPK},
    {"hook_head_index": None, "finetuning_scaling_factor": False, "signed": False},
    {"seqpos_slice": [5, None]},
    {"seqpos_slice": [None], "exclude_special_tokens": True, "noise_scale": 0.1},
    {"mse_loss_normalization": "dense_batch", "normalize_sae_decoder": True},
    {"model_from_pretrained_kwargs": {"center_writing_weights": True, "fold_ln": True}},
    {"hook_layer": 3, "hook_name": "blocks.3.hook_resid_pre"},
    {"architecture": "topk", "k": 4, "rescale_acts_by_decoder_norm": True},
    {"architecture": "abstopk", "k": 4, "signed": True},
    {"architecture": "transcoder", "d_out": 8, "apply_b_dec_to_input": False},
]


def write(folder, config) -> None:
    torch.manual_seed(0)
    shapes = {"W_enc": (16, 32), "W_dec": (32, 16), "b_enc": (32,), "b_dec": (16,)}
    save_file({name: torch.randn(shape) for name, shape in shapes.items()}, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(STANDARD | config))


@pytest.mark.parametrize(("change", "says"), REFUSED)
def test_a_setting_that_would_change_the_numbers_is_refused_by_name(change, says, tmp_path):
    write(tmp_path, change)
    with pytest.raises(InvalidInput) as caught:
        load_sae(str(tmp_path))
    assert caught.value.field == "source"
    assert says in caught.value.message


@pytest.mark.parametrize(("change", "says"), NOTED)
def test_a_setting_that_changes_no_activation_is_noted(change, says):
    check_settings(STANDARD | change)
    (note,) = describe_settings(STANDARD | change)
    assert says in note


@pytest.mark.parametrize("change", SILENT)
def test_a_setting_that_is_honoured_or_about_training_needs_no_words(change):
    check_settings(STANDARD | change)
    assert describe_settings(STANDARD | change) == []


def test_every_setting_of_saelens_is_in_the_table():
    configs = [
        config
        for registry in (SAE_CLASS_REGISTRY, SAE_TRAINING_CLASS_REGISTRY)
        for architecture, (_, config) in registry.items()
        if architecture != TEMPORAL
    ]
    for config in (*configs, LanguageModelSAERunnerConfig, LoggingConfig):
        names = {field.name for field in dataclasses.fields(config)} - {"sae"}
        assert [name for name in sorted(names) if not is_known(name)] == []
    assert [name for name in sorted(LLM_METADATA_KEYS) if not is_known(name)] == []


def test_the_k_of_an_activation_function_of_old_is_used(tmp_path):
    write(tmp_path, LEGACY_TOPK)
    sae = load_sae(str(tmp_path))
    assert (sae.encode(torch.randn(20, 16)) != 0).sum(1).max() <= 4
