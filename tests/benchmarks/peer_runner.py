"""The peer's side of `bench_peer`: runs in the peer's own environment, which has none of our code.
A script, not a module.

    python peer_runner.py FOLDER THREADS

FOLDER holds `model/` (a GPT-NeoX of Hugging Face), `sae/` (of SAELens), `tokens.pt` [batch, pos]
and `settings.json`. The model goes into TransformerLens by its own conversion, without any
download. Writes `peer.json`: seconds, and by feature what can be compared.
"""

import json
import sys
import time
from pathlib import Path

import torch
from sae_dashboard.sae_vis_data import SaeVisConfig
from sae_dashboard.sae_vis_runner import SaeVisRunner
from sae_lens import SAE
from transformer_lens import HookedTransformer, HookedTransformerConfig
from transformer_lens.pretrained.weight_conversions import convert_neox_weights
from transformers import GPTNeoXForCausalLM


def main(folder: Path, threads: int) -> None:
    """Make the peer's dashboards of every feature and say how long that took."""
    torch.set_num_threads(threads)
    settings = json.loads((folder / "settings.json").read_text())
    tokens = torch.load(folder / "tokens.pt", weights_only=True)
    model, sae = (
        hooked(folder / "model", tokens.shape[1]),
        SAE.load_from_disk(str(folder / "sae"), device="cpu"),
    )
    config = SaeVisConfig(
        hook_point=settings["hook"],
        features=list(range(sae.cfg.d_sae)),
        ignore_tokens=set(settings["special_ids"]),
        device="cpu",
        cache_dir=folder / "activations",
    )
    config.feature_centric_layout.seq_cfg.buffer = (
        None  # whole contexts, as ours: else it leaves out peaks near their ends
    )
    start = time.perf_counter(), time.process_time()
    made = SaeVisRunner(config).run(encoder=sae, model=model, tokens=tokens)
    taken = {"wall": time.perf_counter() - start[0], "cpu": time.process_time() - start[1]}
    features = {index: shown(data) for index, data in made.feature_data_dict.items()}
    (folder / "peer.json").write_text(json.dumps({**taken, "features": features}))


def hooked(folder: Path, context: int) -> HookedTransformer:
    """TransformerLens's own form of the model, with nothing folded or centred."""
    neox = GPTNeoXForCausalLM.from_pretrained(folder, torch_dtype=torch.float32)
    shape = neox.config
    config = HookedTransformerConfig(
        n_layers=shape.num_hidden_layers,
        d_model=shape.hidden_size,
        n_heads=shape.num_attention_heads,
        d_head=shape.hidden_size // shape.num_attention_heads,
        d_mlp=shape.intermediate_size,
        d_vocab=shape.vocab_size,
        n_ctx=context,
        eps=shape.layer_norm_eps,
        act_fn=shape.hidden_act,
        normalization_type="LN",
        positional_embedding_type="rotary",
        rotary_dim=int(shape.hidden_size // shape.num_attention_heads * shape.rotary_pct),
        rotary_adjacent_pairs=False,
        parallel_attn_mlp=True,
        original_architecture="GPTNeoXForCausalLM",
        device="cpu",
    )
    model = HookedTransformer(config)
    plain = {
        "fold_ln": False,
        "center_writing_weights": False,
        "center_unembed": False,
        "fold_value_biases": False,
    }
    model.load_and_process_state_dict(convert_neox_weights(neox, config), **plain)
    return model.eval().requires_grad_(False)


def shown(data) -> dict[str, object]:
    """What both tools show of a feature: firings, the best activation of each context among its top
    ones, and logits.
    """
    best: dict[int, float] = {}
    for sequence in data.sequence_data.seq_group_data[0].seq_data:
        best[sequence.original_index] = max(sequence.feat_acts)
    return {
        "tops": sorted((value for value in best.values() if value > 0), reverse=True),
        "fires": sum(data.acts_histogram_data.bar_heights),
        "top_logits": data.logits_table_data.top_logits,
        "bottom_logits": data.logits_table_data.bottom_logits,
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
