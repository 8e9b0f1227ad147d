"""Whether what a pass keeps grows with the tokens: its state and the process, at a tenth of a corpus and at its end.

    python -m tests.benchmarks.bench_memory --tokens 1000000

The model is tiny (2 layers of 32), so that a million tokens take a minute; the SAE has 256 features. State is what the tally
holds, at its largest so far; the process's own peak counts what the libraries and the corpus take too. The corpus is drawn
as it is read.
"""

import argparse
import resource
import sys
import time
from collections.abc import Iterator

import torch

from features.records import SequenceRecord
from tests.benchmarks import bench_dashboards as bench
from workers.pipeline.scan import Target, scan

HIDDEN, LAYERS, WIDTH = 32, 2, 256
HOOK = "blocks.0.hook_resid_post"
ROWS = 512
"""Contexts drawn at once."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for line in measure(options.tokens):
        print(line)


def measure(tokens: int) -> list[str]:
    """Lines of a report."""
    language = bench.random_language(HIDDEN, LAYERS)
    sae = bench.random_sae("topk", WIDTH, HIDDEN)
    early = tokens // 10
    seen: list[tuple[int, int, int, float]] = []  # tokens, peak of state, peak of process, seconds
    state, start = 0, time.perf_counter()
    for done in scan(language, [Target(sae, HOOK)], corpus(tokens), tokens, bench.SETTINGS):
        (tally,) = done.tallies
        state = max(state, tally.nbytes())
        if not seen and tally.tokens >= early:
            seen.append((tally.tokens, state, peak_memory(), time.perf_counter() - start))
    seen.append((tally.tokens, state, peak_memory(), time.perf_counter() - start))
    (few, small, before, first), (many, large, after, whole) = seen
    pace = (whole / many) / (first / few)
    return [
        f"memory from {few:,} to {many:,} tokens: state {small / 2**20:.1f} to {large / 2**20:.1f} MiB"
        f" (x{large / small:.2f}), process {before / 2**20:.0f} to {after / 2**20:.0f} MiB (x{after / before:.2f});"
        f" asked at most x1.10",
        f"time for a token over all / over the first tenth: x{pace:.2f} (linear: x1)",
    ]


def peak_memory() -> int:
    """Bytes that this process had in memory at most."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def corpus(tokens: int) -> Iterator[SequenceRecord]:
    """Contexts by Zipf's law, drawn as they are needed."""
    position = 0
    for seed in range(-(-tokens // (ROWS * (bench.CONTEXT - 1)))):
        for row in bench.ids(ROWS, seed).tolist():
            yield SequenceRecord(position, "zipf", row)
            position += 1


if __name__ == "__main__":
    main()
