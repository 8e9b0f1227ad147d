"""What training costs beside SAELens's own runner, on the same configuration, in turns in one
process.

    python -m tests.benchmarks.bench_train --tokens 60000 --width 2048 --rounds 2 --threads 2

Both train a TopK SAE on the demo model's third layer, from token ids that are in memory already,
with the same batches, learning rate and number of tokens, and save it at the end. Theirs is
`LanguageModelSAETrainingRunner` on the plain Hugging Face model (no metrics, no checkpoints; its
norm is estimated on one batch, so that this costs it nothing); ours tells its metrics as in a job.
The processor's time of all threads is told beside the wall's: it is what a busy machine leaves
comparable.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import torch
from datasets import Dataset
from sae_lens import (
    LanguageModelSAERunnerConfig,
    LanguageModelSAETrainingRunner,
    LoggingConfig,
    TopKTrainingSAEConfig,
)
from sae_lens.load_model import load_model

from features.records import SequenceRecord
from workers.pipeline.data import corpora
from workers.pipeline.data import tokens as token_data
from workers.pipeline.model.language import load_language
from workers.pipeline.training.architectures import TrainSettings
from workers.pipeline.training.train import train

MODEL = str(Path(__file__).resolve().parents[2] / "workers" / "demo" / "model")
LAYER, D_IN, CONTEXT, BATCH, K, LEARNING_RATE = 2, 256, 128, 2048, 24, 4e-3


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokens", type=int, default=60_000)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    torch.set_num_threads(options.threads)
    for line in measure(options.tokens, options.width, options.rounds):
        print(line)


def measure(count: int, width: int, rounds: int) -> list[str]:
    """Lines of a report: the best of `rounds` each, and their ratio."""
    language = load_language(MODEL)
    documents = corpora.load_documents("python-stdlib")
    contexts = list(
        islice(token_data.pack(documents, language.tokenizer, CONTEXT), 2 * count // CONTEXT)
    )
    seconds: dict[str, list[tuple[float, float]]] = {"ours": [], "theirs": []}
    for _ in range(rounds):
        seconds["theirs"].append(_timed(_theirs(contexts, count, width)))
        seconds["ours"].append(_timed(_ours(contexts, count, width)))
    (wall, cpu), (their_wall, their_cpu) = (
        tuple(map(min, zip(*seconds[who], strict=True))) for who in ("ours", "theirs")
    )
    return [
        f"training, TopK of {width:,} on {count:,} tokens: {count / wall:,.0f} tokens/s, "
        "SAELens's runner "
        f"{count / their_wall:,.0f}: wall x{wall / their_wall:.2f}, processor "
        f"x{cpu / their_cpu:.2f} (asked at most x1.05)"
    ]


def _timed(run: Callable[[], None]) -> tuple[float, float]:
    """Wall and processor seconds."""
    start, busy = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - start, time.process_time() - busy


def _ours(contexts: list[SequenceRecord], count: int, width: int) -> Callable[[], None]:
    language = load_language(MODEL)
    settings = TrainSettings(
        hook=f"blocks.{LAYER}.hook_resid_post",
        width=width,
        k=K,
        tokens=count,
        context_size=CONTEXT,
        batch_tokens=BATCH,
        learning_rate=LEARNING_RATE,
        checkpoint_tokens=count,
    )

    def again() -> Iterator[SequenceRecord]:
        return iter(contexts)

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            list(train(language, again, settings, folder))

    return run


def _theirs(contexts: list[SequenceRecord], count: int, width: int) -> Callable[[], None]:
    data = Dataset.from_dict({"input_ids": [context.token_ids for context in contexts]})
    model = load_model("AutoModelForCausalLM", MODEL, device="cpu")
    sae = TopKTrainingSAEConfig(
        d_in=D_IN,
        d_sae=width,
        k=K,
        device="cpu",
        dtype="float32",
        normalize_activations="expected_average_only_in",
    )

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            config = LanguageModelSAERunnerConfig(
                sae=sae,
                model_name=MODEL,
                model_class_name="AutoModelForCausalLM",
                hook_name=f"model.layers.{LAYER}",
                dataset_path="in memory",
                is_dataset_tokenized=True,
                streaming=False,
                context_size=CONTEXT,
                exclude_special_tokens=True,
                training_tokens=count,
                train_batch_size_tokens=BATCH,
                store_batch_size_prompts=32,
                n_batches_in_buffer=16,
                n_batches_for_norm_estimate=1,
                lr=LEARNING_RATE,
                device="cpu",
                dtype="float32",
                logger=LoggingConfig(log_to_wandb=False),
                n_checkpoints=0,
                checkpoint_path=f"{folder}/checkpoints",
                output_path=f"{folder}/sae",
                verbose=False,
            )
            LanguageModelSAETrainingRunner(
                config, override_dataset=data, override_model=model
            ).run()

    return run


if __name__ == "__main__":
    main()
