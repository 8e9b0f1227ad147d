"""Whether a pass needs more memory, or more time for a token, the longer the corpus: each length in
a process of its own.

    python -m tests.benchmarks.bench_memory --tokens 1000000 3000000 10000000

The model is tiny (2 layers of 32) and the SAE has 256 features, so that a million tokens take less
than a minute. The corpus is drawn as it is read. Memory is what the system says a process had at
most, from its start to the last record, libraries and all; state is what the accumulator used.
Time is the processor's, which does not count what other programs used.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import torch

from features.records import SequenceRecord
from tests.benchmarks import bench_dashboards
from workers.pipeline.dashboards.corpus_pass import Target, run_scan
from workers.pipeline.dashboards.records import feature_ranges

HIDDEN, LAYERS, WIDTH = 32, 2, 256
HOOK = "blocks.0.hook_resid_post"
ROWS = 512
"""Contexts drawn at once."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokens", type=int, nargs="+", default=[1_000_000, 3_000_000, 10_000_000])
    parser.add_argument(
        "--threads", type=int, default=1, help="on tensors so small, a second thread only waits"
    )
    parser.add_argument("--here", action="store_true", help="measure this process, and print JSON")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.here:
        print(json.dumps(run(options.tokens[0])))
        return
    own = [
        sys.executable,
        "-m",
        "tests.benchmarks.bench_memory",
        "--here",
        "--threads",
        str(options.threads),
    ]
    runs = [json.loads(_said([*own, "--tokens", str(tokens)])) for tokens in options.tokens]
    for line in report(runs):
        print(line)


def report(runs: list[dict[str, float]]) -> list[str]:
    """Lines that compare each run with the first."""
    first, last = runs[0], runs[-1]
    lines = [
        f"memory and time of passes over {first['tokens']:,} to {last['tokens']:,} tokens, "
        f"{WIDTH} features:"
    ]
    for run_ in runs:
        pace, before = (some["seconds"] / some["tokens"] * 1e6 for some in (run_, first))
        lines.append(
            f"  {run_['tokens']:12,} tokens: process {run_['peak'] / 2**20:.0f} MiB "
            f"(x{run_['peak'] / first['peak']:.3f}; asked"
            f" at most x1.10), state {run_['state'] / 2**20:.1f} MiB, {pace:.1f} us of CPU a "
            f"token (x{pace / before:.3f};"
            f" linear: x1), {run_['seconds']:.0f} s"
        )
    return lines


def run(tokens: int) -> dict[str, Any]:
    """A whole pass in this process, records included."""
    language = bench_dashboards.random_language(HIDDEN, LAYERS)
    sae = bench_dashboards.random_sae("topk", WIDTH, HIDDEN)
    state, start = 0, time.process_time()
    for done in run_scan(
        language, [Target(sae, HOOK)], corpus(tokens), tokens, bench_dashboards.SETTINGS
    ):
        state = max(state, done.accumulators[0].nbytes())
    shown = sum(
        len(part.features) for part in feature_ranges(language, sae, HOOK, done.accumulators[0])
    )
    assert shown == WIDTH
    return {
        "tokens": done.tokens,
        "state": state,
        "peak": peak_memory(),
        "seconds": time.process_time() - start,
    }


def peak_memory() -> int:
    """Bytes that this process had in memory at most."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def corpus(tokens: int) -> Iterator[SequenceRecord]:
    """Contexts by Zipf's law, drawn as they are needed."""
    position = 0
    for seed in range(-(-tokens // (ROWS * (bench_dashboards.CONTEXT - 1)))):
        for row in bench_dashboards.ids(ROWS, seed).tolist():
            yield SequenceRecord(position, "zipf", row)
            position += 1


def _said(command: list[str]) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.splitlines()[-1]


if __name__ == "__main__":
    main()
