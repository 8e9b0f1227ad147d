"""The map: near in decoder space is near on it, groups are found, the same seed gives the same
bits, and it can be stopped.
"""

import hashlib
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from features.records import FeatureMap, LogLine, Progress
from workers.pipeline.umap import layout_process
from workers.pipeline.umap.map import MIN_FEATURES, compute_feature_map, min_cluster_size

GROUPS, EACH = 4, 30


@pytest.fixture(scope="module")
def decoder():
    """Four bundles of thirty directions that hardly meet, of any length, and one row without a
    direction.
    """
    torch.manual_seed(0)
    centres = torch.linalg.qr(torch.randn(32, GROUPS))[0].T
    rows = centres.repeat_interleave(EACH, 0) + 0.06 * torch.randn(GROUPS * EACH, 32)
    rows *= torch.linspace(0.1, 3, len(rows))[:, None]
    return torch.cat([rows, torch.zeros(1, 32)])


def compute_map(decoder, folder, **settings):
    folder.mkdir()
    records = list(compute_feature_map(decoder, range(len(decoder)), str(folder), **settings))
    return records, next(r for r in records if isinstance(r, FeatureMap))


@pytest.fixture(scope="module")
def records_and_map(decoder, tmp_path_factory):
    return compute_map(decoder, tmp_path_factory.mktemp("map") / "first")


@pytest.fixture(scope="module")
def feature_map(records_and_map):
    return records_and_map[1]


def test_the_planted_groups_are_the_clusters(feature_map):
    of = np.array([-1 if c is None else c for c in feature_map.clusters]).reshape(GROUPS, EACH)
    main = [np.bincount(row[row >= 0]).argmax() for row in of]
    assert len(set(main)) == GROUPS
    assert np.mean([row == most for row, most in zip(of, main, strict=True)]) > 0.9


def test_the_neighbours_on_the_map_are_those_of_the_directions(decoder, feature_map):
    points = torch.tensor([feature_map.x, feature_map.y]).T
    near = torch.cdist(points, points).fill_diagonal_(torch.inf).topk(10, largest=False).indices
    assert ((near // EACH) == (torch.arange(len(points)) // EACH)[:, None]).float().mean() > 0.95


def test_a_row_of_zeros_has_no_place(decoder, feature_map):
    assert feature_map.indices == list(range(len(decoder) - 1))


def test_progress_comes_in_epochs_to_the_last_one(records_and_map):
    epochs = [
        r
        for r in records_and_map[0]
        if isinstance(r, Progress) and r.unit == "epochs" and r.total > 1
    ]
    assert [r.done for r in epochs] == sorted({r.done for r in epochs})
    assert (epochs[-1].done, epochs[-1].total) == (layout_process.EPOCHS, layout_process.EPOCHS)


def test_the_same_seed_gives_the_same_bits_in_another_process(
    decoder, feature_map, tmp_path, monkeypatch
):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")  # whatever the worker's own environment says
    again = compute_map(decoder, tmp_path / "again")[1]
    assert digest(again) == digest(feature_map)
    assert digest(compute_map(decoder, tmp_path / "other", seed=1)[1]) != digest(feature_map)


def test_what_takes_longest_to_compile_is_kept_for_the_next_map(feature_map):
    import umap

    layout_process._cache_compiled_functions(umap.umap_)
    cache = Path(umap.umap_.smooth_knn_dist.stats.cache_path)
    for name in ("smooth_knn_dist", "compute_membership_strengths"):
        assert list(cache.glob(f"umap_.{name}-*.nbi")), "by the process that made the map"


def digest(of: FeatureMap) -> str:
    return hashlib.sha256(np.array([of.x, of.y]).tobytes() + repr(of.clusters).encode()).hexdigest()


def test_few_features_have_no_map_and_the_log_says_so(decoder, tmp_path):
    records = list(compute_feature_map(decoder, range(MIN_FEATURES - 1), str(tmp_path)))
    assert records[-1].indices == []
    said = " ".join(r.text for r in records if isinstance(r, LogLine))
    assert f"Only {MIN_FEATURES - 1} features" in said
    assert not list(tmp_path.iterdir())


def test_the_fewest_features_have_one(decoder, tmp_path):
    feature_map = list(
        compute_feature_map(decoder, range(5, 5 + MIN_FEATURES), str(tmp_path), neighbours=200)
    )[-1]
    assert feature_map.indices == list(range(5, 5 + MIN_FEATURES))
    assert feature_map.neighbours == MIN_FEATURES
    assert np.isfinite([feature_map.x, feature_map.y]).all()


def test_equal_directions_are_no_error(tmp_path):
    feature_map = list(compute_feature_map(torch.ones(40, 8), range(40), str(tmp_path)))[-1]
    assert np.isfinite([feature_map.x, feature_map.y]).all()


def test_a_request_to_stop_ends_it_at_once_and_leaves_no_process(decoder, tmp_path):
    mine = psutil.Process()
    before = set(mine.children(recursive=True))
    asked = []

    def stop():
        asked.append(set(mine.children(recursive=True)) - before)
        return len(asked) > 3

    begun = time.monotonic()
    records = list(compute_feature_map(decoder, range(100), str(tmp_path), should_stop=stop))
    assert time.monotonic() - begun < 5
    assert not any(isinstance(r, FeatureMap) for r in records)
    assert any(asked)  # it was running
    assert not any(child.is_running() for children in asked for child in children)


def test_the_layout_ends_where_its_parent_does(tmp_path):
    """A worker that is killed closes the pipe; the child must not compute on."""
    import subprocess
    import sys

    child = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import time; from pathlib import Path; from workers.pipeline.umap "
            "import layout_process as layout;"
            "layout.layout_points = lambda *a: time.sleep(60); layout.np.load = lambda p: "
            "__import__('contextlib').nullcontext("
            "dict(vectors=0, neighbours=0, distances=0, seed=0)); layout.main(Path('.'))",
        ],
        stdin=subprocess.PIPE,
        cwd=tmp_path,
        env={"PYTHONPATH": str(layout_process.Path(layout_process.__file__).parents[3])},
    )
    assert child.stdin is not None
    child.stdin.close()
    assert child.wait(timeout=20) == 1


def test_clusters_are_numbered_by_size_also_where_only_a_sample_is_grouped(monkeypatch):
    rng = np.random.default_rng(0)
    sizes = [400, 100, 200]
    points = np.concatenate([rng.normal(50 * i, 1, (n, 2)) for i, n in enumerate(sizes)]).astype(
        np.float32
    )
    whole = layout_process.cluster_points(points, 20)
    monkeypatch.setattr(layout_process, "CLUSTERED_AT_ONCE", 350)
    sampled = layout_process.cluster_points(points, 20)
    for feature_map in (whole, sampled):
        assert [
            np.bincount(part[part >= 0]).argmax() for part in np.split(feature_map, [400, 500])
        ] == [
            0,
            2,
            1,
        ]


def test_a_map_lies_on_its_long_side_however_it_was_turned():
    rng = np.random.default_rng(0)
    flat = rng.normal(0, 1, (200, 2)) * [5, 1] + 30
    for angle in (0.3, 1.5, 2.9):
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        lying = layout_process.align_axes(flat @ turn)
        assert lying.std(0) == pytest.approx(np.linalg.svd(flat - flat.mean(0))[1] / np.sqrt(200))
        assert lying.mean(0) == pytest.approx([0, 0], abs=1e-9)


def test_the_smallest_cluster_grows_with_the_map():
    assert [min_cluster_size(n) for n in (15, 2_048, 8_192, 131_072)] == [5, 10, 40, 50]
