"""Dashboards by the peer, `sae-dashboard`, and by us: same model, SAE, tokens, threads and machine,
one after the other.

    python -m tests.benchmarks.bench_peer --tokens 16384 --width 2048

The peer is installed once, from the package index, into an environment of its own in
FEATURESCOPE_VAR (or `.bench/`): it needs older packages than ours. Where it cannot be installed or
does not run, this says so and gives no ratio. Both clocks run from a loaded model to the dashboards
of every feature in memory; the peer may keep the model's activations on disk (its `cache_dir`), so
that it runs the model once, and takes its own size of batches (128 features). It shows whole
contexts, as we do: with its default, 11 tokens, it leaves out peaks near their ends.

Compared, for every feature: firings (ours count tokens, its density is their share of all
positions); top activations, of which the peer takes several in one context, so the best of each
context counts, as rounded by it to 4 digits; top and bottom logits, for a decoder without a mean
and a final norm with a gain of 1, as the peer knows neither. Its histogram runs from the smallest
to the largest firing and ours in powers of two: of those only the totals can be equal.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from sae_lens import SAE

from features.records import FeatureRange, FeatureRecord
from tests.benchmarks import bench_dashboards
from workers.pipeline.dashboards.compute import compute_dashboards
from workers.pipeline.model.language import Language

PEER = "sae-dashboard==0.8.0"
PINS = [
    "torch==2.13.0",
    "numpy<2",
    "pyarrow<22",
]  # our torch; the peer asks for a numpy that newer pyarrows refuse
HIDDEN, LAYERS = 64, 5
"""The blocks of the 260K-parameter model that the targets were set with."""
TARGETS = {"topk": 40, "standard": 15}
ROOT = Path(__file__).resolve().parents[2]


class NoPeer(Exception):
    """The peer cannot be had here; the message says why."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokens", type=int, default=16_384)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for line in measure(options.tokens, options.width, options.threads):
        print(line)


def measure(tokens: int, width: int, threads: int) -> list[str]:
    """Lines of a report, for TopK and for ReLU."""
    try:
        python = environment()
        lines = []
        for architecture in TARGETS:
            lines += _race(python, architecture, tokens, width, threads)
        return lines
    except NoPeer as missing:
        return [f"peer: NOT MEASURED, {missing}"]


def environment() -> Path:
    """The peer's Python, installed where it is not there yet. Raises `NoPeer`."""
    folder = Path(os.environ.get("FEATURESCOPE_VAR") or ROOT / ".bench") / "peer"
    python = folder / "bin" / "python"
    if _runs(python):
        return python
    print(f"Installing {PEER} into {folder}; this takes minutes …", flush=True)
    pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    _call([sys.executable, "-m", "venv", "--clear", str(folder)])
    _call([*pip, "install", *PINS, PEER])
    # they come along for models of images and sound, from builds for another torch, and then
    # nothing can be imported
    _call([*pip, "uninstall", "--yes", "torchvision", "torchaudio"])
    if not _runs(python):
        raise NoPeer(f"{PEER} was installed but cannot be imported")
    return python


def _runs(python: Path) -> bool:
    if not python.exists():
        return False
    return not subprocess.run(
        [str(python), "-c", "import sae_dashboard.sae_vis_runner"], capture_output=True
    ).returncode


def _call(command: list[str]) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"HF_HUB_OFFLINE": "1"}
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        raise NoPeer(f"{' '.join(command[1:4])} … failed: {said[-1]}")


def _race(python: Path, architecture: str, tokens: int, width: int, threads: int) -> list[str]:
    language, texts = (
        bench_dashboards.random_language(HIDDEN, LAYERS),
        bench_dashboards.zipf_texts(tokens),
    )
    sae = _comparable(language, architecture, width)
    with tempfile.TemporaryDirectory(prefix="featurescope-bench-") as name:
        folder = Path(name)
        _hand_over(folder, language, sae, [text.token_ids for text in texts])
        _call([str(python), str(Path(__file__).with_name("peer_runner.py")), name, str(threads)])
        theirs = json.loads((folder / "peer.json").read_text())
    counted = sum(len(text.token_ids) - 1 for text in texts)
    made: list[Any] = []
    ours = dict(
        zip(
            ("wall", "cpu"),
            bench_dashboards.timed(
                lambda: made.extend(
                    compute_dashboards(language, sae, bench_dashboards.HOOK, texts, counted)
                )
            ),
            strict=True,
        )
    )
    records = [
        record for part in made if isinstance(part, FeatureRange) for record in part.features
    ]
    speed, peers = (counted * width / taken["wall"] / 1e6 for taken in (ours, theirs))
    return [
        f"peer, {architecture}: {peers:.2f} M token-features/s, ours {speed:.1f} M: "
        f"x{speed / peers:.1f} on"
        f" the wall, x{theirs['cpu'] / ours['cpu']:.1f} in CPU time ({theirs['cpu']:.1f} s to "
        f"{ours['cpu']:.1f} s; asked"
        f" x{TARGETS[architecture]}; {counted:,} tokens x {width:,} features)",
        f"  {compare(records, theirs['features'])}",
    ]


def _comparable(language: Language, architecture: str, width: int) -> SAE:
    """A decoder of unit rows without a mean, and no logits for the special tokens, which only we
    mask.
    """
    sae = bench_dashboards.random_sae(architecture, width, HIDDEN, LAYERS)
    rows = sae.W_dec - sae.W_dec.mean(1, keepdim=True)
    sae.W_dec.copy_(torch.nn.functional.normalize(rows, dim=1))
    language.model.get_output_embeddings().weight[language.special_ids] = 0
    return sae


def _hand_over(folder: Path, language: Language, sae: SAE, token_ids: list[list[int]]) -> None:
    language.model.save_pretrained(folder / "model")
    if hasattr(sae.cfg, "rescale_acts_by_decoder_norm"):
        sae.cfg.rescale_acts_by_decoder_norm = (
            True  # of rows of norm 1: the same, but only so the peer's folding takes it
        )
    sae.save_model(folder / "sae")
    if hasattr(sae.cfg, "rescale_acts_by_decoder_norm"):
        sae.cfg.rescale_acts_by_decoder_norm = False
    torch.save(torch.tensor(token_ids), folder / "tokens.pt")
    settings = {"hook": bench_dashboards.HOOK, "special_ids": language.special_ids.tolist()}
    (folder / "settings.json").write_text(json.dumps(settings))


def compare(ours: list[FeatureRecord], theirs: dict[str, Any]) -> str:
    """One line on how far the two differ, over all features."""
    fires = tops = logits = 0.0
    compared = 0
    for record in ours:
        other = theirs[str(record.index)]
        fires += record.fires != other["fires"]
        mine = [max(e.values) for e in record.examples if e.band == 0]
        pairs = list(zip(mine, other["tops"], strict=False))
        compared += len(pairs)
        tops = max([tops, *(abs(a - b) for a, b in pairs)])
        both = zip(
            record.top_logits + record.bottom_logits,
            other["top_logits"] + other["bottom_logits"],
            strict=True,
        )
        logits = max([logits, *(abs(a - b) for a, b in both)])
    return (
        f"{fires:.0f} of {len(ours):,} features differ in firings; {compared:,} top activations "
        f"within {tops:.1e}"
        f" (asked 1e-4), logits within {logits:.1e} (asked 1e-3)"
    )


if __name__ == "__main__":
    main()
