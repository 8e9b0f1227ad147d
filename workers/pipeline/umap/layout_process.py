"""Lay out points in the plane (UMAP) and cluster them (HDBSCAN), in a process of its own.

    python -m workers.pipeline.umap.layout_process FOLDER

    FOLDER/input.npz     vectors [points, d], neighbours and distances [points, k], seed,
                         min_cluster_size
    stdout               "done/total" epochs, one line each
    FOLDER/output.npz    points [points, 2], clusters [points]

It is a process because the libraries compile and compute for minutes while they hold Python's lock;
a process can be killed at any time. It exits when its standard input is closed, so that it does not
outlive its parent.

One thread and one seed: the same input gives the same output, to the bit, on any number of cores.
"""

import os
import sys
import threading
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np
from jaxtyping import Float, Int

INPUT, OUTPUT = "input.npz", "output.npz"
SINGLE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)
"""The environment that this module needs: sums of several threads differ in their last digits."""
EPOCHS = 500
EPOCHS_FOR_MANY = 200
MANY_POINTS = 10_000
"""UMAP's own numbers: more points need fewer epochs."""
CLUSTERED_AT_ONCE = 30_000
"""HDBSCAN's time grows with the square of the points. Of more points an even sample is clustered,
and every other point joins the cluster of its nearest sampled point.
"""


class _ProgressFile:
    """The file of UMAP's progress bar, which writes "done/total" to it."""

    def write(self, text: str) -> None:
        if text.strip():
            print(text.strip(), flush=True)

    def flush(self) -> None:
        pass


def layout_points(
    vectors: Float[np.ndarray, "points d"],
    neighbours: Int[np.ndarray, "points k"],
    distances: Float[np.ndarray, "points k"],
    seed: int,
) -> Float[np.ndarray, "points 2"]:
    """Return coordinates for unit `vectors`, from the neighbours of each, itself first."""
    import umap

    _cache_compiled_functions(umap.umap_)
    warnings.filterwarnings("ignore", module="umap")  # about features that are not used here
    reducer = umap.UMAP(
        n_neighbors=neighbours.shape[1],
        metric="cosine",
        precomputed_knn=(neighbours, distances),
        n_epochs=EPOCHS if len(vectors) <= MANY_POINTS else EPOCHS_FOR_MANY,
        random_state=seed,
        tqdm_kwds={
            "file": _ProgressFile(),
            "bar_format": "{n_fmt}/{total_fmt}\n",
            "mininterval": 0.5,
            "disable": False,
        },
    )
    points = np.asarray(reducer.fit_transform(vectors), dtype=np.float64)
    return align_axes(points).astype(np.float32)


def _cache_compiled_functions(module: ModuleType) -> None:
    """Let numba cache on disk the functions that take longest to compile. Otherwise the process of
    every map would compile them.
    """
    for function in (module.smooth_knn_dist, module.compute_membership_strengths):
        function.enable_caching()


def align_axes(points: Float[np.ndarray, "points 2"]) -> Float[np.ndarray, "points 2"]:
    """Centre the points and rotate their longest axis to the horizontal: pages are wide."""
    centred = points - points.mean(0)
    axes = np.linalg.eigh(centred.T @ centred)[1][:, ::-1]
    axes *= np.sign(axes[np.abs(axes).argmax(0), [0, 1]])  # an eigenvector has either sign
    return centred @ axes


def cluster_points(
    points: Float[np.ndarray, "points 2"], min_cluster_size: int
) -> Int[np.ndarray, " points"]:
    """Return the cluster of each point: 0 for the largest, -1 for none. Of clusters of equal size,
    the one that contains the first point comes first.
    """
    from sklearn.cluster import HDBSCAN

    sample_size = min(len(points), CLUSTERED_AT_ONCE)
    sample = np.linspace(0, len(points) - 1, sample_size).round().astype(np.int64)
    size = max(2, round(min_cluster_size * sample_size / len(points)))
    hdbscan = HDBSCAN(min_cluster_size=size, copy=True)
    clusters = hdbscan.fit_predict(points[sample].astype(np.float64))
    if sample_size < len(points):
        from scipy.spatial import KDTree

        nearest = KDTree(points[sample]).query(points)[1]
        clusters = clusters[nearest]
    return _number_by_size(clusters)


def _number_by_size(clusters: Int[np.ndarray, " points"]) -> Int[np.ndarray, " points"]:
    numbers, first, sizes = np.unique(clusters, return_index=True, return_counts=True)
    is_cluster = numbers >= 0
    order = np.lexsort((first[is_cluster], -sizes[is_cluster]))
    rank = {int(number): rank for rank, number in enumerate(numbers[is_cluster][order])}
    return np.array([rank.get(int(number), -1) for number in clusters], dtype=np.int64)


def main(folder: Path) -> None:
    """Load the input, lay it out, cluster it, and write the output in one step."""
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    with np.load(folder / INPUT) as data:
        points = layout_points(
            data["vectors"], data["neighbours"], data["distances"], int(data["seed"])
        )
        clusters = cluster_points(points, int(data["min_cluster_size"]))
    partial = folder / f"partial-{OUTPUT}"
    np.savez(partial, points=points, clusters=clusters)
    partial.rename(folder / OUTPUT)


def _exit_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
