"""How much memory dashboards of a very wide SAE take, all in: weights, state, nearest features,
logits, records.

    python -m tests.benchmarks.bench_wide --width 1048576 --hidden 512 --tokens 4064

A random JumpReLU SAE is written to a temporary folder by one process, and another loads it as a job
does (`load_sae`), reads the tokens and makes dashboards; its peak is what the system says it had in
memory at most. A feature is compared with every other for its nearest, so that the whole finish of
a million features would take hours on a processor: the first and the last `--ranges` ranges are
made, which need what all of them need, and the time of all is told from them.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

import torch
from sae_lens import JumpReLUSAE, JumpReLUSAEConfig

from tests.benchmarks import bench_dashboards
from tests.benchmarks.bench_memory import peak_memory
from workers.pipeline.dashboards.corpus_pass import Target, run_scan
from workers.pipeline.dashboards.records import feature_ranges
from workers.pipeline.model.activations import activations_at
from workers.pipeline.sae.io import load_sae, save_sae

ASKED = 8 * 2**30
FIRING = 50
"""About so many features fire on a token."""
HOOK = "blocks.0.hook_resid_post"
LAYERS = 2


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--width", type=int, default=1 << 20)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--tokens", type=int, default=4064)
    parser.add_argument("--ranges", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--write", type=Path, help="write the SAE there, and nothing else")
    parser.add_argument("--read", type=Path, help="measure the SAE there, and print JSON")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.write:
        write(options.write, options.width, options.hidden)
    elif options.read:
        print(json.dumps(run(options.read, options.tokens, options.ranges)))
    else:
        for line in measure(options):
            print(line)


def measure(options: argparse.Namespace) -> list[str]:
    """Lines of a report."""
    own = [sys.executable, "-m", "tests.benchmarks.bench_wide", "--threads", str(options.threads)]
    sizes = [
        f"--{name}={getattr(options, name)}" for name in ("width", "hidden", "tokens", "ranges")
    ]
    with tempfile.TemporaryDirectory(prefix="featurescope-bench-") as name:
        subprocess.run(
            [*own, *sizes, "--write", name + "/sae"], check=True, stdout=subprocess.DEVNULL
        )
        done = subprocess.run(
            [*own, *sizes, "--read", name + "/sae"], check=True, stdout=subprocess.PIPE, text=True
        )
    found = json.loads(done.stdout.splitlines()[-1])
    steps = ", ".join(f"{step} {peak / 2**30:.2f}" for step, peak in found["peaks"].items())
    hours = found["range"] * options.width / bench_dashboards.SETTINGS.features_per_range / 3600
    return [
        f"wide: {options.width:,} features of {options.hidden}, {found['tokens']:,} tokens, "
        f"{found['rate']:.0f} firings a token:"
        f" peak {max(found['peaks'].values()) / 2**30:.2f} GiB (asked at most "
        f"{ASKED / 2**30:.0f}); GiB after {steps}",
        f"  the pass took {found['pass']:.0f} s; a range of "
        f"{bench_dashboards.SETTINGS.features_per_range} features {found['range']:.1f} s,"
        f" all of them {hours:.1f} h",
    ]


@torch.no_grad()
def write(folder: Path, width: int, hidden: int) -> None:
    """Write a JumpReLU SAE of random unit directions whose thresholds let about `FIRING` features
    fire on a token.
    """
    sae = JumpReLUSAE(JumpReLUSAEConfig(d_in=hidden, d_sae=width)).requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for start in range(0, width, 1 << 16):
        rows = torch.randn(min(1 << 16, width - start), hidden, generator=generator)
        sae.W_dec[start : start + len(rows)] = torch.nn.functional.normalize(rows, dim=1)
        sae.W_enc[:, start : start + len(rows)] = sae.W_dec[start : start + len(rows)].T
    language = bench_dashboards.random_language(hidden, LAYERS)
    read = next(activations_at(language, [HOOK], [bench_dashboards.ids(8)]))[HOOK].flatten(0, 1)
    some = (read @ sae.W_enc[:, : min(width, 1 << 13)]).flatten()
    sae.threshold.fill_(float(some.kthvalue(len(some) - len(some) * FIRING // width).values))
    save_sae(sae, str(folder))


def run(folder: Path, tokens: int, ranges: int) -> dict[str, object]:
    """Seconds, and the peak of memory so far after each step, in bytes."""
    peaks = {"imports": peak_memory()}
    sae = load_sae(str(folder))
    language = bench_dashboards.random_language(sae.cfg.d_in, LAYERS)
    peaks["loading"] = peak_memory()
    start = time.perf_counter()
    for done in run_scan(
        language,
        [Target(sae, HOOK)],
        bench_dashboards.zipf_texts(tokens),
        tokens,
        bench_dashboards.SETTINGS,
    ):
        accumulator = done.accumulators[0]
    taken = {"pass": time.perf_counter() - start}
    peaks["pass"] = peak_memory()
    start = time.perf_counter()
    size = bench_dashboards.SETTINGS.features_per_range
    for first in (0, sae.cfg.d_sae - ranges * size):
        made = list(islice(feature_ranges(language, sae, HOOK, accumulator, first), ranges))
        assert all(
            len(feature.nearest) == bench_dashboards.SETTINGS.nearest
            for part in made
            for feature in part.features
        )
    peaks["finish"] = peak_memory()
    taken["range"] = (time.perf_counter() - start) / (2 * ranges)
    fires = int(accumulator.histograms.firing_counts.sum())
    return {
        "tokens": accumulator.tokens,
        "rate": fires / accumulator.tokens,
        "peaks": peaks,
        **taken,
    }


if __name__ == "__main__":
    main()
