"""Lay neighbouring points out in the plane (UMAP) and find groups among them (HDBSCAN), in a
process of its own.

    python -m workers.pipeline.umap.layout_process FOLDER

reads `FOLDER/input.npz` and writes `FOLDER/output.npz`. Each line that it prints is an epoch done
and how many there are. It is a process because what the libraries compile and compute cannot be
stopped and holds Python's lock for minutes: killed, it is gone within a moment. It ends by itself
where its standard input does, so that no one has to outlive its parent.

One thread and one seed: the same input gives the same output, to the bit, on any number of cores.
"""

import os
import sys
import threading
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

INPUT, OUTPUT = "input.npz", "output.npz"
THREADS = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)
"""The environment that this module needs: sums of several threads differ in their last digits."""
EPOCHS = 500
EPOCHS_WIDE = 200
WIDE = 10_000
"""UMAP's own numbers: more points need fewer epochs."""
GROUPED_AT_ONCE = 30_000
"""HDBSCAN's time grows with the square: of more points an even sample is grouped, and each other
joins its nearest one.
"""


class _Told:
    """A file for UMAP's progress bar, which writes "done/total" to it."""

    def write(self, text: str) -> None:
        if text.strip():
            print(text.strip(), flush=True)

    def flush(self) -> None:
        """Nothing is kept back."""


def place(vectors: np.ndarray, near: np.ndarray, distances: np.ndarray, seed: int) -> np.ndarray:
    """Coordinates [points, 2] from unit vectors [points, d] and the neighbours of each [points, k],
    itself first.
    """
    import umap

    _keep_compiled(umap.umap_)
    warnings.filterwarnings("ignore", module="umap")  # of what a map does not use
    bar: dict[str, Any] = {
        "file": _Told(),
        "bar_format": "{n_fmt}/{total_fmt}\n",
        "mininterval": 0.5,
        "disable": False,
    }
    reducer = umap.UMAP(
        n_neighbors=near.shape[1],
        metric="cosine",
        precomputed_knn=(near, distances),
        n_epochs=EPOCHS if len(vectors) <= WIDE else EPOCHS_WIDE,
        random_state=seed,
        tqdm_kwds=bar,
    )
    return align_axes(np.asarray(reducer.fit_transform(vectors), dtype=np.float64)).astype(
        np.float32
    )


def _keep_compiled(module: ModuleType) -> None:
    """Have numba keep on disk what takes it longest to compile: a process for each map would
    compile it for each map.
    """
    for function in (module.smooth_knn_dist, module.compute_membership_strengths):
        function.enable_caching()


def align_axes(points: np.ndarray) -> np.ndarray:
    """The points about their middle, turned so that they reach farthest from left to right: pages
    are wide.
    """
    centred = points - points.mean(0)
    axes = np.linalg.eigh(centred.T @ centred)[1][:, ::-1]
    axes *= np.sign(axes[np.abs(axes).argmax(0), [0, 1]])  # either sign is an axis
    return centred @ axes


def cluster_points(points: np.ndarray, smallest: int) -> np.ndarray:
    """Number of each point's cluster, from 0 for the largest on; -1 where it is in none. Ties go by
    the first point.
    """
    from sklearn.cluster import HDBSCAN

    taken = (
        np.linspace(0, len(points) - 1, min(len(points), GROUPED_AT_ONCE)).round().astype(np.int64)
    )
    size = max(2, round(smallest * len(taken) / len(points)))
    found = HDBSCAN(min_cluster_size=size, copy=True).fit_predict(points[taken].astype(np.float64))
    if len(taken) < len(points):
        from scipy.spatial import KDTree

        found = found[KDTree(points[taken]).query(points)[1]]
    return _by_size(found)


def _by_size(found: np.ndarray) -> np.ndarray:
    names, first, sizes = np.unique(found, return_index=True, return_counts=True)
    inside = names >= 0
    order = np.lexsort((first[inside], -sizes[inside]))
    new = {-1: -1} | {int(old): rank for rank, old in enumerate(names[inside][order])}
    return np.array([new[int(old)] for old in found], dtype=np.int64)


def main(folder: Path) -> None:
    """Read the input, lay it out, group it, and write both in one step."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with np.load(folder / INPUT) as given:
        points = place(given["vectors"], given["near"], given["distances"], int(given["seed"]))
        clusters = cluster_points(points, int(given["smallest"]))
    partial = folder / f"partial-{OUTPUT}"
    np.savez(partial, points=points, clusters=clusters)
    partial.rename(folder / OUTPUT)


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
