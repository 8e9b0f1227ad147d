"""One running instance for all tests here, with a tiny model and corpus in it."""

import json
import random
import re

import pytest

from tests.e2e.instance import Instance, wait_for

WORDS = re.findall(r"\w+", "the cat saw a dog and it ran over some grass while birds sang in tall old trees near water")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """A Hugging Face folder of a random two-layer model, 32 wide, with a byte-level tokenizer."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny") / "model"
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=["<|end|>"], initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator([" ".join(WORDS)] * 5, trainer)
    PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<|end|>", eos_token="<|end|>").save_pretrained(folder)
    torch.manual_seed(0)
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    LlamaForCausalLM(
        LlamaConfig(**size, vocab_size=320, max_position_embeddings=64, initializer_range=0.2, bos_token_id=0)
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory):
    """Four thousand documents of forty words, as JSON lines."""
    place = tmp_path_factory.mktemp("corpus") / "tales.jsonl"
    draw = random.Random(0)
    place.write_text("\n".join(json.dumps({"text": " ".join(draw.choices(WORDS, k=40))}) for _ in range(4000)))
    return place


@pytest.fixture(scope="session")
def instance(tiny_model, tiny_corpus):
    """Up, without the demo, and with the model `tiny` and the corpus `tales`."""
    running = Instance(FEATURESCOPE_DEMO="0")
    try:
        assert "Finished" in running.manage("add_model", "tiny", str(tiny_model), "--wait")
        assert "Finished" in running.manage("add_corpus", "tales", str(tiny_corpus), "--wait")
        yield running
    finally:
        running.stop()


@pytest.fixture
def finished(instance):
    """Wait until a job is over, and return its row."""

    def wait(pk: int, seconds: float = 120) -> dict:
        over = ("finished", "failed", "cancelled")
        return wait_for(
            lambda: (row := instance.job(pk))["state"] in over and row, seconds, f"the end of job {pk}"
        )  # fmt: skip

    return wait
