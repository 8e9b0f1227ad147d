"""What dashboards cost beside the forward pass and the encoder alone, measured in turns in one run.

    python -m tests.benchmarks.bench_dashboards --tokens 100000 --width 2048 --architecture topk
    --threads 2

The model is a random GPT-NeoX of the demo's shape (4 layers of 256, vocabulary 4,096, contexts of
128) and the text is drawn from Zipf's law: neither changes how much there is to compute. Both legs
read the third layer with the same batches.
"""

import argparse
import time
from collections.abc import Callable

import torch
from sae_lens import SAE, StandardSAE, StandardSAEConfig, TopKSAE, TopKSAEConfig
from tokenizers import Tokenizer, models
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerFast

from features.records import FeatureRange, SequenceRecord
from workers.pipeline.dashboards.accumulator import DashboardSettings
from workers.pipeline.dashboards.compute import compute_dashboards
from workers.pipeline.dashboards.corpus_pass import Target, batches, run_scan
from workers.pipeline.model.activations import activations_at
from workers.pipeline.model.language import Language

HOOK = "blocks.2.hook_resid_post"
VOCABULARY, HIDDEN, LAYERS, CONTEXT = 4096, 256, 4, 128
SETTINGS = DashboardSettings()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokens", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--architecture", choices=("topk", "standard"), default="topk")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for line in measure(options.architecture, options.tokens, options.width, options.rounds):
        print(line)


def measure(architecture: str, tokens: int, width: int, rounds: int) -> list[str]:
    """Lines of a report."""
    language, sae, texts = random_language(), random_sae(architecture, width), zipf_texts(tokens)
    legs: dict[str, Callable[[], None]] = {
        "forward + encode": lambda: forward_and_encode(language, sae, texts, tokens),
        "streaming pass": lambda: pass_only(language, sae, texts, tokens),
        "dashboards": lambda: whole(language, sae, texts, tokens),
    }
    forward_and_encode(language, sae, texts[:64], tokens)  # warm up
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in legs}
    for _ in range(rounds):  # in turns: what else the machine does falls on all of them
        for name, leg in legs.items():
            taken[name].append(timed(leg))
    return [
        f"{architecture}, {tokens:,} tokens x {width:,} features",
        *report(taken, tokens * width),
    ]


def report(taken: dict[str, list[tuple[float, float]]], token_features: int) -> list[str]:
    """Tell the fastest round of each leg, and its ratio to the first leg. CPU time does not count
    what others use.
    """
    wall, cpu = (
        {name: min(round_[clock] for round_ in rounds) for name, rounds in taken.items()}
        for clock in (0, 1)
    )
    lines = []
    for name in taken:
        against = (
            f"wall x{wall[name] / wall['forward + encode']:.2f}  CPU "
            f"x{cpu[name] / cpu['forward + encode']:.2f}"
        )
        rate = f"{token_features / wall[name] / 1e6:.1f} M token-features/s"
        lines.append(
            f"  {name:18s}{wall[name]:7.2f} s wall {cpu[name]:7.2f} s CPU   {against}   {rate}"
        )
    return lines


def timed(leg: Callable[[], None]) -> tuple[float, float]:
    """Seconds on the wall and of the processor."""
    wall, cpu = time.perf_counter(), time.process_time()
    leg()
    return time.perf_counter() - wall, time.process_time() - cpu


@torch.no_grad()
def forward_and_encode(
    language: Language, sae: SAE, texts: list[SequenceRecord], tokens: int
) -> None:
    """The work that any dashboard needs: nothing is kept."""
    fed = list(batches(texts, SETTINGS.batch_sequences, language.special_ids, tokens))
    for batch, read in zip(
        fed, activations_at(language, [HOOK], (batch.token_ids for batch in fed)), strict=True
    ):
        sae.encode(read[HOOK][batch.counted])


def pass_only(language: Language, sae: SAE, texts: list[SequenceRecord], tokens: int) -> None:
    """The streaming pass without the finish (logits, neighbours, records), which does not grow with
    the tokens.
    """
    for _ in run_scan(language, [Target(sae, HOOK)], texts, tokens, SETTINGS):
        pass


def whole(language: Language, sae: SAE, texts: list[SequenceRecord], tokens: int) -> None:
    """Everything, records included; they are dropped as they come, as ingest would."""
    made = compute_dashboards(language, sae, HOOK, texts, tokens)
    assert (
        sum(len(part.features) for part in made if isinstance(part, FeatureRange)) == sae.cfg.d_sae
    )


def random_language(hidden: int = HIDDEN, layers: int = LAYERS) -> Language:
    """The demo's shape, or a smaller one, with random weights and a vocabulary of made-up words."""
    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=4 * hidden,
        max_position_embeddings=CONTEXT,
    )
    model = GPTNeoXForCausalLM(config).eval().requires_grad_(False)
    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(VOCABULARY)}, unk_token="w1"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, bos_token="w0", eos_token="w1")
    return Language(model, tokenizer, torch.device("cpu"), torch.tensor([0, 1]), "random")


def random_sae(architecture: str, width: int, hidden: int = HIDDEN, layers: int = LAYERS) -> SAE:
    """TopK with k = 24, or a ReLU SAE with a bias that lets about as many features fire."""
    torch.manual_seed(0)
    size = {"d_in": hidden, "d_sae": width}
    if architecture == "topk":
        sae: SAE = TopKSAE(TopKSAEConfig(**size, k=24, rescale_acts_by_decoder_norm=False))
    else:
        sae = StandardSAE(StandardSAEConfig(**size))
    sae.requires_grad_(False)
    unit = torch.nn.functional.normalize(torch.randn(width, hidden), dim=1)
    sae.W_dec.copy_(unit)
    sae.W_enc.copy_(unit.T)
    if architecture == "standard":
        read = torch.cat(
            [
                harvested[HOOK]
                for harvested in activations_at(random_language(hidden, layers), [HOOK], [ids(8)])
            ]
        )
        sae.b_enc.fill_(
            -float((read.flatten(0, 1) @ sae.W_enc).quantile(1 - 24 / width, dim=1).mean())
        )
    return sae


def ids(rows: int, seed: int = 0) -> torch.Tensor:
    """Contexts of tokens by Zipf's law, each after a BOS."""
    weights = 1.0 / torch.arange(1, VOCABULARY - 1).double()
    drawn = (
        torch.multinomial(
            weights, rows * CONTEXT, replacement=True, generator=torch.Generator().manual_seed(seed)
        )
        + 2
    )
    drawn = drawn.view(rows, CONTEXT)
    drawn[:, 0] = 0
    return drawn


def zipf_texts(tokens: int) -> list[SequenceRecord]:
    """Enough contexts for `tokens` tokens without their BOS."""
    rows = ids(-(-tokens // (CONTEXT - 1))).tolist()
    return [SequenceRecord(position, "zipf", row) for position, row in enumerate(rows)]


if __name__ == "__main__":
    main()
