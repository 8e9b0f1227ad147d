"""Tiny random models of three families with byte-level tokenizers, made once per session; nothing
is downloaded.
"""

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from tests.workers.stored import Kept
from workers.pipeline.model.language import Language, load_language

torch.set_num_threads(1)  # models this small only wait for a second thread

END = "<|endoftext|>"
ANIMALS = ["cat", "dog", "bird", "fish", "horse", "mouse"]
TEXTS = [
    f"def {a}(self, {b}):\n    return self.{b} + {n}\n\n\nThe {a} saw a {b} — naïve 日本 🧠 {n}.\n"
    * 3
    for n, (a, b) in enumerate((a, b) for a in ANIMALS for b in ANIMALS if a != b)
]
CONTEXT = 64


def make_tokenizer(vocabulary: int = 400) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{END} $A", special_tokens=[(END, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=END, eos_token=END)


def make_model(family: str) -> PreTrainedModel:
    """Three layers, 32 wide, random weights large enough that every layer matters."""
    torch.manual_seed(0)
    size = {
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 64,
    }
    ends = {"vocab_size": 400, "bos_token_id": 0, "eos_token_id": 0, "initializer_range": 0.2}
    if family == "gpt2":
        config = GPT2Config(n_embd=32, n_layer=3, n_head=4, n_positions=CONTEXT, **ends)
        return GPT2LMHeadModel(config)
    if family == "gpt_neox":
        return GPTNeoXForCausalLM(GPTNeoXConfig(max_position_embeddings=CONTEXT, **size, **ends))
    return LlamaForCausalLM(
        LlamaConfig(
            max_position_embeddings=CONTEXT, num_key_value_heads=2, head_dim=8, **size, **ends
        )
    )


@pytest.fixture(scope="session")
def texts() -> list[tuple[str, str]]:
    """(name, text) of 30 short documents with accents, emoji and indentation."""
    return [(f"text {number}", text) for number, text in enumerate(TEXTS)]


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return make_tokenizer()


@pytest.fixture(scope="session")
def model_folders(tmp_path_factory, tokenizer) -> dict[str, Path]:
    """Hugging Face folders of tiny models, by family."""
    root = tmp_path_factory.mktemp("models")
    for family in ("llama", "gpt2", "gpt_neox"):
        make_model(family).save_pretrained(root / family)
        tokenizer.save_pretrained(root / family)
    return {folder.name: folder for folder in root.iterdir()}


@pytest.fixture(scope="session")
def languages(model_folders) -> dict[str, Language]:
    return {family: load_language(str(folder)) for family, folder in model_folders.items()}


@pytest.fixture(scope="session")
def llama(languages) -> Language:
    return languages["llama"]


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Kept:
    """Rows and files that the tests of a file begin with."""
    return Kept(tmp_path_factory.mktemp("kept"))
