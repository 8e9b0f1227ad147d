"""A map of an SAE: its live features in the plane, near features whose decoder directions are near,
with clusters.

    neighbours    the exact nearest features by decoder cosine (`dashboards.neighbors`)
    layout        UMAP on the graph of neighbours                   } `layout_process`
    clusters      HDBSCAN on the points of the layout               }

Features that are near on the map are near in decoder space as a rule; distances between clusters
that are far apart mean little. The same weights, features and seed give the same map. A decoder row
of zeros has no direction and is left out.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from queue import Empty, Queue
from threading import Thread

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from features.records import FeatureMap, InvalidInput, LogLine, Progress
from workers.pipeline.dashboards.neighbors import nearest_features
from workers.pipeline.umap import layout_process

MIN_FEATURES = 15
"""Live features that a map needs. Fewer are easily read as a list."""
NEIGHBOURS = 15
FEATURES_AT_ONCE = 4096
STOP_POLL_SECONDS = 0.5
REPOSITORY = Path(__file__).resolve().parents[3]


def compute_feature_map(
    decoder: Float[Tensor, "features d_out"],
    alive: Sequence[int],
    folder: str,
    *,
    neighbours: int = NEIGHBOURS,
    seed: int = 0,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Progress | LogLine | FeatureMap]:
    """Yield progress in features and epochs, and at the end the map of the features `alive`.

    `neighbours` includes the feature itself. `folder` is for temporary files. If there are fewer
    than `MIN_FEATURES` features, the map is empty and a log line says so. If `should_stop()`
    returns true, the generator ends early. Raises `InvalidInput("sae")` if the layout fails.
    """
    indices = torch.tensor(sorted(alive), dtype=torch.int64, device=decoder.device)
    indices = indices[decoder[indices].norm(dim=1) > 0]
    count = len(indices)
    made_with = f"umap-learn {version('umap-learn')}, scikit-learn {version('scikit-learn')}"
    if count < MIN_FEATURES:
        yield LogLine(
            f"Only {count} features are alive; a map needs {MIN_FEATURES}, so there is none."
        )
        yield FeatureMap([], [], [], [], neighbours, seed, made_with)
        return
    neighbours = min(neighbours, count)
    smallest = min_cluster_size(count)
    yield LogLine(
        f"{count:,} features by their {neighbours - 1} nearest others; clusters have {smallest} "
        "or more."
    )
    unit = torch.nn.functional.normalize(decoder[indices].float(), dim=1)
    neighbourhoods = yield from _collect_neighbours(unit, neighbours - 1, should_stop)
    if neighbourhoods is None:
        return
    yield Progress(0, 1, "epochs", "Preparing the layout")
    _write_input(Path(folder), unit.cpu().numpy(), *neighbourhoods, seed, smallest)
    for done, total in _run_layout(Path(folder), should_stop):
        note = "Laying out the map" if done < total else "Finding clusters"
        yield Progress(done, total, "epochs", note)
    if should_stop():
        return
    with np.load(Path(folder) / layout_process.OUTPUT) as output:
        x, y = output["points"].T.tolist()
        clusters = [number if number >= 0 else None for number in output["clusters"].tolist()]
    clustered = [number for number in clusters if number is not None]
    yield LogLine(
        f"{len(set(clustered)):,} clusters hold {len(clustered):,} of {count:,} features."
    )
    yield FeatureMap(indices.tolist(), x, y, clusters, neighbours, seed, made_with)


def min_cluster_size(features: int) -> int:
    """Return the smallest number of features that form a cluster: one in 200, from 5 to 50."""
    return min(max(5, features // 200), 50)


Neighbours = tuple[Int[np.ndarray, "features k"], Float[np.ndarray, "features k"]]
"""Positions of the nearest features, and their cosines."""


def _collect_neighbours(
    unit: Float[Tensor, "features d_out"], count: int, should_stop: Callable[[], bool]
) -> Generator[Progress, None, Neighbours | None]:
    """Yields progress and returns the `count` nearest of each feature, or None if stopped."""
    total, parts = len(unit), []
    for start in range(0, total, FEATURES_AT_ONCE):
        yield Progress(start, total, "features", "Finding the nearest features")
        parts.append(nearest_features(unit, count, start, min(start + FEATURES_AT_ONCE, total)))
        if should_stop():
            return None
    indices, cosines = (torch.cat(tensors).cpu().numpy() for tensors in zip(*parts, strict=True))
    return indices, cosines


def _write_input(
    folder: Path,
    unit: Float[np.ndarray, "features d_out"],
    nearest_indices: Int[np.ndarray, "features k"],
    cosines: Float[np.ndarray, "features k"],
    seed: int,
    smallest: int,
) -> None:
    """UMAP expects each point as its own first neighbour. The distance is 1 - cosine."""
    own_index = np.arange(len(unit))[:, None]
    neighbours = np.concatenate([own_index, nearest_indices], axis=1)
    distances = np.concatenate([np.zeros_like(own_index), np.clip(1 - cosines, 0, 2)], axis=1)
    np.savez(
        folder / layout_process.INPUT,
        vectors=unit,
        neighbours=neighbours.astype(np.int32),
        distances=distances.astype(np.float32),
        seed=seed,
        min_cluster_size=smallest,
    )


def _run_layout(folder: Path, should_stop: Callable[[], bool]) -> Iterator[tuple[int, int]]:
    """Run `layout_process` and yield (epochs done, all epochs). Kill it if `should_stop()` returns
    true.
    """
    (folder / layout_process.OUTPUT).unlink(missing_ok=True)
    command = [sys.executable, "-m", layout_process.__name__, str(folder.resolve())]
    with (folder / "layout.log").open("w+") as log:
        child = subprocess.Popen(
            command, cwd=REPOSITORY, env=os.environ | layout_process.SINGLE_THREAD,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
        try:
            for line in _output_lines(child, should_stop):
                done, _, total = line.partition("/")
                if done.isdigit() and total.isdigit():
                    yield int(done), int(total)
        finally:
            child.kill()
            child.wait()
        if not should_stop() and not (folder / layout_process.OUTPUT).exists():
            log.seek(0)
            errors = log.read().strip().splitlines()
            reason = errors[-1] if errors else "it was killed; is there enough memory?"
            raise InvalidInput("sae", f"The map could not be made: {reason}")


def _output_lines(child: "subprocess.Popen[str]", should_stop: Callable[[], bool]) -> Iterator[str]:
    """Lines that `child` prints, until it closes its output or `should_stop()` returns true.

    A thread reads them, so that `should_stop` is called even while nothing is printed.
    """
    lines: Queue[str | None] = Queue()

    def read_output() -> None:
        assert child.stdout is not None
        for line in child.stdout:
            lines.put(line.strip())
        lines.put(None)

    Thread(target=read_output, daemon=True).start()
    while not should_stop():
        try:
            line = lines.get(timeout=STOP_POLL_SECONDS)
        except Empty:
            continue
        if line is None:
            child.wait()
            return
        yield line
