"""Tiny random models of the decoder families of the installed transformers, by model type.

`python -m tests.workers.families` writes the list in docs/models.md.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from features.records import InvalidInput
from workers.pipeline.model.hooks import MLP_IN, SITES, hook_refusals
from workers.pipeline.model.sites import find_sites

COLUMNS = (*SITES, MLP_IN)
HEAD = """# Models

Any causal language model of the installed transformers can be added that runs a list of blocks one
after the other. When a model is added, a few passes over 14 tokens find its hook points and check
them:

- A block's output is its input plus what its parts return. The part that mixes tokens is attention,
  or what stands in its place in hybrid models: linear attention, a state-space layer, a
  convolution. The other part is the MLP.
- `resid_pre + attn_out + mlp_out = resid_post`, and an edit of a site changes the stream by exactly
  that edit, to 1e-4 of the largest entry of the token's stream. Where a norm or a factor stands
  between attention and the stream (Gemma 2, OLMo 2, Granite), the site comes after it.
- `z` through the output projection and its bias is what the projection returns.

A site that does not hold is not offered on pages, in the API, in forms or commands; the model's
page says why. `mlp.hook_in` is for transcoders.

The logits of a direction go through everything that stands before the unembedding: the gain of the
final norm, its centring, the model's own factor of the logits. A head that is more than a norm
(ModernBERT's dense layer and activation) is replaced by its mean derivative at the last residuals
of the same tokens. In every family below the result has a cosine of 1.0000 with the derivative of
the model's real head.

A tokenizer may have added tokens that the model has no embedding for; only texts that hold one are
refused.

## Families

{families} model types, each with random weights, two layers and about 32 dimensions. `some`: in
some of its layers. The list is written by `python -m tests.workers.families`; `make test-full`
checks every row.

{table}

## Not tried

These cannot be built small; they may work.

{skipped}
"""
PAGE = Path(__file__).parents[2] / "docs" / "models.md"
LAYERS = 2
LATENT = {"head_dim": 4, "num_key_value_heads": 4, "qk_nope_head_dim": 4}
INDEXER = {"index_n_heads": 2, "index_head_dim": 8, "index_topk": 4}
MAMBA = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_n_groups": 1, "mamba_d_state": 4}
LINEAR = {"layer_types": ["linear_attention", "full_attention"]}
DELTA = LINEAR | {
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
}
TEXT = {
    "vocab_size": 300,
    "hidden_size": 32,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size": 48,
}
VISION = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "image_size": 28,
    "patch_size": 14,
}
SIZES: dict[str, Any] = TEXT | {
    **dict.fromkeys(("n_embd", "d_model"), 32),
    **dict.fromkeys(("n_layer", "num_layers", "n_layers"), LAYERS),
    **dict.fromkeys(("decoder_layers", "encoder_layers"), LAYERS),
    **dict.fromkeys(("n_head", "n_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), 4),
    **dict.fromkeys(("ffn_dim", "decoder_ffn_dim"), 48),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size"), 16),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx"), 64),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank"), 16),
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "initializer_range": 0.2,
}
"""Small values of settings, used where a family's configuration has one of that name."""

OPTIONS: dict[str, dict[str, Any]] = {
    "axk1": LATENT,
    "axk2": LATENT,
    "bamba": MAMBA | {"attn_layer_indices": [1]},
    "codegen": {"rotary_dim": 4},
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "clip_qkv": 8, "rope_theta": 1e4},
        "ffn_config": {
            "ffn_hidden_size": 32,
            "moe_num_experts": 4,
            "moe_top_k": 2,
            "hidden_size": 32,
        },
    },
    "deepseek_v2": LATENT,
    "deepseek_v3": LATENT,
    "deepseek_v32": LATENT | INDEXER,
    "dots1": {"n_shared_experts": 1},
    "falcon_h1": MAMBA | {"mamba_d_ssm": 64},
    "gemma3": {"text_config": TEXT, "vision_config": VISION},
    "gemma3n_text": {
        "num_kv_shared_layers": 0,
        "layer_types": ["sliding_attention", "full_attention"],
        "hidden_size_per_layer_input": 8,
        "laurel_rank": 4,
        "vocab_size_per_layer_input": 300,
        "activation_sparsity_pattern": [0.0, 0.0],
    },
    "gemma4_text": {
        "num_kv_shared_layers": 0,
        "layer_types": ["sliding_attention", "full_attention"],
        "hidden_size_per_layer_input": 8,
        "vocab_size_per_layer_input": 300,
        "global_head_dim": 8,
    },
    "glm4_moe_lite": LATENT,
    "glm_moe_dsa": LATENT | INDEXER,
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "gptj": {"rotary_dim": 4},
    "granite": {
        "residual_multiplier": 0.22,
        "logits_scaling": 8.0,
        "embedding_multiplier": 12.0,
        "attention_multiplier": 0.1,
    },
    "granitemoe": {"residual_multiplier": 0.22, "logits_scaling": 8.0},
    "granitemoehybrid": MAMBA
    | {
        "layer_types": ["mamba", "attention"],
        "shared_intermediate_size": 16,
        "residual_multiplier": 0.22,
    },
    "granitemoeshared": {"residual_multiplier": 0.22, "shared_intermediate_size": 16},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "llama4_text": {"intermediate_size_mlp": 48},
    "longcat_flash": LATENT
    | {
        "ffn_hidden_size": 32,
        "expert_ffn_hidden_size": 16,
        "zero_expert_num": 1,
        "moe_topk": 2,
    },
    "mamba2": {"num_heads": 8, "head_dim": 8, "n_groups": 1, "state_size": 4},
    "kimi_linear": LINEAR | LATENT | {"linear_head_dim": 8, "linear_num_heads": 4},
    "minicpm3": LATENT,
    "nemotron_h": {
        "mamba_num_heads": 8,
        "mamba_head_dim": 8,
        "n_groups": 1,
        "ssm_state_size": 4,
        "moe_shared_expert_intermediate_size": 16,
    },
    "qwen3_5_moe_text": DELTA,
    "qwen3_5_text": DELTA,
    "qwen3_next": DELTA,
    "reformer": {
        "is_decoder": True,
        "attn_layers": ["local", "local"],
        "axial_pos_embds": False,
        "local_attn_chunk_length": 4,
    },
    "roc_bert": {
        "pronunciation_vocab_size": 30,
        "shape_vocab_size": 30,
        "pronunciation_embed_dim": 8,
        "shape_embed_dim": 8,
    },
    "xmod": {"languages": ["en_XX"], "default_language": "en_XX"},
    "youtu": LATENT,
    "zamba2": {"layers_block_type": ["mamba", "hybrid"]},
}
"""Settings that a family needs besides its sizes."""

VISION_AND_MORE = "reads images or sound too, and those parts cannot be made small this way"
SKIPPED = {
    "blt": "reads bytes in patches that another model cuts",
    "cohere_compass_text": "its configuration lacks rotary settings for its layer types",
    "dots3_note_text": "its configuration allows only its published sizes",
    "gemma3n": "needs the vision library timm",
    "gemma4_assistant": "drafts for another model, and needs that model's cache",
    "gemma4_unified_assistant": "drafts for another model, and needs that model's cache",
    "qwen4_exp": VISION_AND_MORE,
    "zamba": "its layers share weights in a way that needs its published depth",
    "zaya": "its configuration allows only its published sizes",
    **dict.fromkeys(
        (
            *("dots3_note", "emu3", "fuyu", "gemma4", "gemma4_unified", "git", "got_ocr2"),
            *("llama4", "mllama", "moss_transcribe_diarize", "musicgen", "musicgen_melody"),
            *("phi4_multimodal", "qwen3_5", "qwen3_5_moe"),
        ),
        VISION_AND_MORE,
    ),
}
FAMILIES = sorted(set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES) - set(SKIPPED))


def tiny_model(kind: str) -> PreTrainedModel:
    """Two layers, about 32 wide. No weight is zero or one, so that every gain, bias and scale has
    an effect.
    """
    known = AutoConfig.for_model(kind)
    settings = set(known.to_dict()) | set(known.attribute_map)
    sizes = {name: value for name, value in SIZES.items() if name in settings}
    config = AutoConfig.for_model(kind, **sizes | OPTIONS.get(kind, {}))
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).float().eval().requires_grad_(False)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1 and "norm" in name.lower() and name.endswith("weight"):
            parameter.uniform_(0.3, 1.5)
        elif parameter.numel() > 1 and bool((parameter == parameter.flatten()[0]).all()):
            parameter.normal_(0, 0.3)
    return model


def row_of(kind: str) -> str:
    """A family's row of the list: for each site whether it is offered, and why not."""
    model = tiny_model(kind)
    try:
        offered, refusals = find_sites(model).points, hook_refusals(model)
    except InvalidInput as refusal:
        return _row(kind, *["–"] * len(COLUMNS), refusal.message)
    counts = Counter(hook.split(".", 2)[2] for hook in offered)
    missing = Counter(hook.split(".", 2)[2] for hook in refusals)
    marks = (
        "–" if site in missing and not counts[site] else "some" if site in missing else "✓"
        for site in COLUMNS
    )
    return _row(kind, *marks, " ".join(dict.fromkeys(refusals.values())))


def page() -> str:
    """docs/models.md."""
    rows = [row_of(kind) for kind in FAMILIES]
    skipped = [_row(kind, why[0].upper() + why[1:] + ".") for kind, why in sorted(SKIPPED.items())]
    titles = _row("Model type", *(f"`{site}`" for site in COLUMNS), "Why not")
    return HEAD.format(
        families=len(FAMILIES),
        table="\n".join([titles, "| --- |" + " --- |" * (len(COLUMNS) + 1), *rows]),
        skipped="\n".join([_row("Model type", "Why"), "| --- | --- |", *skipped]),
    )


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |".replace("|  |", "| |")


if __name__ == "__main__":
    torch.set_num_threads(1)
    PAGE.write_text(page())
