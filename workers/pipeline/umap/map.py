"""A map of an SAE: its live features in the plane, near where their decoder directions are, and
clusters of them.

The exact nearest neighbours by cosine (`neighbors`) make the graph; UMAP lays it out and HDBSCAN
finds the groups on the map (`layout`). What is near on the map is near in decoder space as a rule;
distances between far groups mean little. Two runs with the same weights, features and seed give the
same map. A decoder row of zeros has no direction and is left out.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from queue import Empty, Queue
from threading import Thread

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from features.records import FeatureMap, InvalidInput, LogLine, Progress
from workers.pipeline.dashboards.neighbors import nearest_features
from workers.pipeline.umap import layout_process

MIN_FEATURES = 15
"""Live features that a map needs: fewer are seen at a glance in a list."""
NEIGHBOURS = 15
ROOT = Path(__file__).resolve().parents[3]


def compute_feature_map(
    decoder: Float[Tensor, "features d_out"],
    alive: Sequence[int],
    folder: str,
    *,
    neighbours: int = NEIGHBOURS,
    seed: int = 0,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Progress | LogLine | FeatureMap]:
    """Yield progress in epochs and, last, the map of the features `alive`; `folder` takes what is
    in between.

    If there are fewer than `MIN_FEATURES` features, the map is empty and a log line says so. If
    `should_stop()` returns true, the generator ends early.
    """
    rows = torch.tensor(sorted(alive), dtype=torch.int64, device=decoder.device)
    rows = rows[decoder[rows].norm(dim=1) > 0]
    made_with = f"umap-learn {version('umap-learn')}, scikit-learn {version('scikit-learn')}"
    if len(rows) < MIN_FEATURES:
        yield LogLine(
            f"Only {len(rows)} features are alive; a map needs {MIN_FEATURES}, so there is none."
        )
        yield FeatureMap([], [], [], [], neighbours, seed, made_with)
        return
    neighbours = min(neighbours, len(rows))
    smallest = min_cluster_size(len(rows))
    yield LogLine(
        f"{len(rows):,} features by their {neighbours - 1} nearest others; clusters have "
        f"{smallest} or more."
    )
    unit = torch.nn.functional.normalize(decoder[rows].float(), dim=1)
    found = []
    for start in range(0, len(rows), 4096):
        yield Progress(start, len(rows), "features", "Finding the nearest features")
        found.append(nearest_features(unit, neighbours - 1, start, min(start + 4096, len(rows))))
        if should_stop():
            return
    yield Progress(0, 1, "epochs", "Preparing the layout")
    near, cosines = (torch.cat(parts).cpu().numpy() for parts in zip(*found, strict=True))
    _write(Path(folder), unit.cpu().numpy(), near, cosines, seed, smallest)
    for done, total in _run(Path(folder), should_stop):
        yield Progress(
            done, total, "epochs", "Laying out the map" if done < total else "Finding clusters"
        )
    if should_stop():
        return
    with np.load(Path(folder) / layout_process.OUTPUT) as output:
        x, y = output["points"].T.tolist()
        clusters = [number if number >= 0 else None for number in output["clusters"].tolist()]
    grouped = sum(number is not None for number in clusters)
    count = len({number for number in clusters if number is not None})
    yield LogLine(f"{count:,} clusters hold {grouped:,} of {len(rows):,} features.")
    yield FeatureMap(rows.tolist(), x, y, clusters, neighbours, seed, made_with)


def min_cluster_size(features: int) -> int:
    """How few features make a cluster: one in 200, from 5 to 50."""
    return min(max(5, features // 200), 50)


def _write(
    folder: Path, unit: np.ndarray, near: np.ndarray, cosines: np.ndarray, seed: int, smallest: int
) -> None:
    """UMAP wants each point as its own first neighbour, at distance 0; the distance is
    1 - cosine.
    """
    itself = np.arange(len(unit))[:, None]
    near = np.concatenate([itself, near], axis=1).astype(np.int32)
    distances = np.concatenate([np.zeros_like(itself), np.clip(1 - cosines, 0, 2)], axis=1).astype(
        np.float32
    )
    np.savez(
        folder / layout_process.INPUT,
        vectors=unit,
        near=near,
        distances=distances,
        seed=seed,
        smallest=smallest,
    )


def _run(folder: Path, should_stop: Callable[[], bool]) -> Iterator[tuple[int, int]]:
    """Yield (epochs done, all epochs) while the layout is made; kill it where `should_stop` turns
    true.
    """
    (folder / layout_process.OUTPUT).unlink(missing_ok=True)
    command = [sys.executable, "-m", layout_process.__name__, str(folder.resolve())]
    with (folder / "layout.log").open("w+") as log:
        child = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | layout_process.THREADS,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
        try:
            for line in _lines(child, should_stop):
                done, _, total = line.partition("/")
                if done.isdigit() and total.isdigit():
                    yield int(done), int(total)
        finally:
            child.kill()
            child.wait()
        if not should_stop() and not (folder / layout_process.OUTPUT).exists():
            log.seek(0)
            last = (log.read().strip().splitlines() or ["it was killed; is there enough memory?"])[
                -1
            ]
            raise InvalidInput("sae", f"The map could not be made: {last}")


def _lines(child: "subprocess.Popen[str]", should_stop: Callable[[], bool]) -> Iterator[str]:
    """What `child` prints, until it closes its output or `should_stop` turns true, which is asked
    twice a second.
    """
    told: Queue[str | None] = Queue()

    def read() -> None:
        assert child.stdout is not None
        for line in child.stdout:
            told.put(line.strip())
        told.put(None)

    Thread(target=read, daemon=True).start()
    while not should_stop():
        try:
            line = told.get(timeout=0.5)
        except Empty:
            continue
        if line is None:
            child.wait()
            return
        yield line
