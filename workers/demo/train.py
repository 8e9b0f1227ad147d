"""Train the demo model: tokenizer, weights, baselines and log, from the running interpreter's own
library.

    python -m workers.demo.train OUT [--epochs 3]      (about an hour on two cores)

A Llama-shaped decoder with tied embeddings, next-token loss over documents packed end to end with
one `<|endoftext|>` before each. Writes a Hugging Face folder and `training_log.json`; weights are
saved as bf16.
"""

import argparse
import json
import math
import platform
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from workers.pipeline.data import stdlib

END = "<|endoftext|>"
VOCAB, CONTEXT, BATCH = 4096, 256, 24
PEAK_LR, WARMUP, WEIGHT_DECAY = 2.5e-3, 100, 0.1
PROMPT = 'def read_lines(path):\n    """'


def make_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE of `VOCAB` tokens; `END` has id 0 and serves as BOS and EOS."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB,
        special_tokens=[END],
        initial_alphabet=alphabet,
        show_progress=False,
        max_token_length=16,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END,
        eos_token=END,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


def make_model() -> LlamaForCausalLM:
    """4.5 M parameters: 4 layers of 256, 4 heads, SwiGLU of 768, tied embeddings."""
    config = LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
        initializer_range=0.04,
    )
    return LlamaForCausalLM(config)


def pack(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> Tensor:
    """All documents end to end, `END` before each: int64 [tokens]."""
    encoded = tokenizer.backend_tokenizer.encode_batch_fast(texts)
    return torch.tensor([token for e in encoded for token in (0, *e.ids)])


def baselines(train: Tensor, held_out: Tensor) -> dict[str, float]:
    """Held-out nats per token of a unigram model and of a bigram model that backs off to it
    (weights 0.9 and 0.1).
    """
    unigram = torch.bincount(train, minlength=VOCAB).double() + 1
    unigram /= unigram.sum()
    pairs = (
        torch.bincount(train[:-1] * VOCAB + train[1:], minlength=VOCAB**2)
        .double()
        .view(VOCAB, VOCAB)
    )
    bigram = pairs / pairs.sum(1, keepdim=True).clamp(min=1)
    before, after = held_out[:-1], held_out[1:]
    mixed = 0.9 * bigram[before, after] + 0.1 * unigram[after]
    return {"unigram": -unigram[after].log().mean().item(), "bigram": -mixed.log().mean().item()}


def rows_of(tokens: Tensor) -> Tensor:
    """Consecutive windows [rows, CONTEXT + 1], each led by `END`: the model always sees a BOS, as
    it will in use.
    """
    rows = tokens.unfold(0, CONTEXT, CONTEXT)
    return torch.cat([torch.zeros(len(rows), 1, dtype=rows.dtype), rows], dim=1)


def windows(tokens: Tensor, generator: torch.Generator) -> Iterator[Tensor]:
    """One epoch of shuffled batches [BATCH, CONTEXT + 1], cut at a random offset so that epochs
    differ.
    """
    rows = rows_of(tokens[int(torch.randint(CONTEXT, (1,), generator=generator)) :])
    for batch in torch.randperm(len(rows), generator=generator).split(BATCH):
        if len(batch) == BATCH:
            yield rows[batch]


def loss_of(model: Callable[..., Any], batch: Tensor) -> Tensor:
    """Mean next-token cross-entropy in nats."""
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(batch[:, :-1]).logits
    return torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), batch[:, 1:].flatten())


@torch.no_grad()
def held_out_loss(model: LlamaForCausalLM, tokens: Tensor) -> float:
    """Nats per token over every full window of the held-out modules."""
    rows = rows_of(tokens)
    model.eval()
    losses = [loss_of(model, batch).item() * len(batch) for batch in rows.split(BATCH)]
    model.train()
    return sum(losses) / len(rows)


def learning_rate(step: int, steps: int) -> float:
    """Linear warm-up, then a cosine to a fiftieth of the peak."""
    if step < WARMUP:
        return PEAK_LR * (step + 1) / WARMUP
    return PEAK_LR * (
        0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / (steps - WARMUP)))
    )


def fit(
    model: LlamaForCausalLM,
    train: Tensor,
    held_out: Tensor,
    epochs: int,
    log: list[dict[str, float]],
) -> None:
    """Train in place; a row goes to `log` every 50 steps, with the held-out loss every 500."""
    matrices = [p for p in model.parameters() if p.dim() > 1]
    norms = [p for p in model.parameters() if p.dim() == 1]
    groups = [
        {"params": matrices, "weight_decay": WEIGHT_DECAY},
        {"params": norms, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95))
    generator = torch.Generator().manual_seed(0)
    steps = epochs * (len(train) // CONTEXT // BATCH)
    compiled = torch.compile(model)  # half as much again in tokens per second, on two cores
    started, running = time.time(), 0.0
    for step, batch in enumerate(b for _ in range(epochs) for b in windows(train, generator)):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(min(step, steps), steps)
        loss = loss_of(compiled, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        running += loss.item()
        if (step + 1) % 50 == 0:
            row = {
                "step": step + 1,
                "of": steps,
                "seconds": round(time.time() - started),
                "train": round(running / 50, 4),
            }
            running = 0.0
            if (step + 1) % 500 == 0:
                row["held_out"] = round(held_out_loss(model, held_out), 4)
            log.append(row)
            print(json.dumps(row), flush=True)


def sample(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> str:
    """128 tokens after `PROMPT` at temperature 0.8, seed 0."""
    torch.manual_seed(0)
    ids = torch.tensor([[0, *tokenizer(PROMPT)["input_ids"]]])
    out = model.eval().generate(
        ids, max_new_tokens=128, do_sample=True, temperature=0.8, top_p=0.95, pad_token_id=0
    )
    return str(tokenizer.decode(out[0, 1:]))


def main() -> None:
    """Make everything in one go and leave a folder that `AutoModelForCausalLM` loads."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    torch.manual_seed(0)
    texts = [text for _, text in stdlib.load_documents()]
    random.Random(0).shuffle(texts)
    tokenizer = make_tokenizer(texts)
    train, held_out = (
        pack(tokenizer, texts),
        pack(tokenizer, [text for _, text in stdlib.load_documents(held_out=True)]),
    )
    model = make_model()
    facts = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "parameters": model.num_parameters(),
        "train_tokens": len(train),
        "held_out_tokens": len(held_out),
        "epochs": options.epochs,
        "baselines": baselines(train, held_out),
    }
    print(json.dumps(facts), flush=True)
    log: list[dict[str, float]] = []
    started = time.time()
    options.out.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(options.out)
    fit(model, train, held_out, options.epochs, log)
    model.to(torch.bfloat16)  # type: ignore[arg-type]  # transformers wraps torch's own signature
    model.save_pretrained(options.out)
    facts |= {"seconds": round(time.time() - started), "held_out": held_out_loss(model, held_out)}
    facts |= {"prompt": PROMPT, "sample": sample(model, tokenizer), "log": log}
    (options.out / "training_log.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
