"""Languages, SAEs and texts made by hand, so that what a dashboard must show is known
beforehand.
"""

import torch
from sae_lens import (
    SAE,
    BatchTopKTrainingSAE,
    BatchTopKTrainingSAEConfig,
    GatedSAE,
    GatedSAEConfig,
    JumpReLUSAE,
    JumpReLUSAEConfig,
    StandardSAE,
    StandardSAEConfig,
    TopKSAE,
    TopKSAEConfig,
)
from tokenizers import Tokenizer, models
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from features.records import SequenceRecord
from workers.pipeline.model.language import Language

torch.set_num_threads(1)  # on tensors so small, threads wait for each other most of the time

HIDDEN = 32
HOOK = "blocks.0.hook_resid_post"
BOS, EOS, CAT = 0, 1, 4
WORDS = ["<bos>", "<eos>", "<0x0A>", "<unused0>", " cat", *(f" w{i}" for i in range(5, 60))]
VOCABULARY = 64
"""Rows of the embedding: four more than the tokenizer has tokens, as padded models have."""


def language(seed: int = 0, exact: bool = False) -> Language:
    """A two-layer Llama of random weights. If `exact`, its residual stream is the embedding, in
    eighths that add exactly.
    """
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=128,
        tie_word_embeddings=False,
    )
    model = LlamaForCausalLM(config).eval().requires_grad_(False)
    model.model.norm.weight.uniform_(0.5, 1.5)
    for parameter in model.model.layers.parameters():
        if parameter.ndim == 2:
            parameter.mul_(6.0)
    model.model.embed_tokens.weight.normal_()
    if exact:
        model.model.embed_tokens.weight.copy_(torch.randint(-16, 17, (VOCABULARY, HIDDEN)) / 8)
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
    words = {word: index for index, word in enumerate(WORDS)}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="<eos>")),
        bos_token="<bos>",
        eos_token="<eos>",
    )
    return Language(model, tokenizer, torch.device("cpu"), torch.tensor([BOS, EOS]), "planted")


def sae(
    architecture: str, features: int = 64, seed: int = 0, exact: bool = False, d_in: int = HIDDEN
) -> SAE:
    """An SAE of random weights; k is 4 where the architecture has one. If `exact`, every activation
    is a multiple of 1/64.
    """
    torch.manual_seed(seed)
    size = {"d_in": d_in, "d_sae": features}
    made = {
        "topk": lambda: TopKSAE(TopKSAEConfig(**size, k=4, rescale_acts_by_decoder_norm=False)),
        "standard": lambda: StandardSAE(StandardSAEConfig(**size)),
        "jumprelu": lambda: JumpReLUSAE(JumpReLUSAEConfig(**size)),
        "gated": lambda: GatedSAE(GatedSAEConfig(**size)),
        "batchtopk": lambda: _saved_batchtopk(size),
    }[architecture]()
    made.requires_grad_(False)
    for name, parameter in made.named_parameters():
        if parameter.ndim == 2:
            parameter.copy_(
                torch.randint(-8, 9, parameter.shape) / 8
                if exact
                else torch.randn_like(parameter) / 3
            )
        elif name in ("b_enc", "b_gate", "b_mag"):
            parameter.fill_(-1.0)
    if architecture == "jumprelu":
        made.threshold.fill_(2.0)
    return made


def texts(count: int, length: int, seed: int = 0) -> list[SequenceRecord]:
    """Sequences of random words; each starts with BOS, and some have EOS inside."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(2, len(WORDS), (count, length), generator=generator)
    ids[:, 0] = BOS
    ids[torch.rand(count, length, generator=generator) < 0.02] = EOS
    return [
        SequenceRecord(position, f"text {position}", row.tolist())
        for position, row in enumerate(ids)
    ]


def _saved_batchtopk(size: dict[str, int]) -> SAE:
    """What SAELens saves of a BatchTopK SAE: a JumpReLU one with a single threshold."""
    trained = BatchTopKTrainingSAE(BatchTopKTrainingSAEConfig(**size, k=4.0))
    config = {
        **JumpReLUSAEConfig(**size).to_dict(),
        "metadata": {"training_architecture": trained.cfg.architecture()},
    }
    saved = JumpReLUSAE(JumpReLUSAEConfig.from_dict(config))
    saved.load_state_dict(
        {**trained.state_dict(), "threshold": torch.full((size["d_sae"],), 1.5)}, strict=False
    )
    return saved
