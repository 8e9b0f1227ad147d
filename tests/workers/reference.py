"""Dashboards as they are defined: dense, slow, one feature and one activation at a time. The fast
path must agree.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from features.records import ExampleRecord, SequenceRecord
from workers.pipeline.dashboards.top_examples import sample_priority


class Statistics(NamedTuple):
    """The part of `FeatureRecord` that comes from the corpus, in its order."""

    index: int
    fires: int
    density: float
    max_activation: float
    mean_activation: float
    histogram: list[int]
    histogram_width: float
    band_edges: list[float]
    examples: list[ExampleRecord]


def statistics(
    dense: Tensor,
    sequences: Sequence[SequenceRecord],
    top: int = 20,
    bands: int = 5,
    per_band: int = 5,
    seed: int = 0,
) -> list[Statistics]:
    """The statistics of every feature, from `dense` activations [sequence, pos, features] that are
    NaN where nothing counts.
    """
    tokens = int((~dense[:, :, 0].isnan()).sum())
    return [
        _feature(f, dense[:, :, f], sequences, tokens, top, bands, per_band, seed)
        for f in range(dense.shape[2])
    ]


def partners(dense: Tensor, count: int = 10) -> list[list[tuple[int, int, float]]]:
    """For every feature, the others that fire on the same tokens, best first: index, tokens of
    both, their share as float32.
    """
    fired = [
        set((dense[:, :, f] > 0).flatten().nonzero()[:, 0].tolist()) for f in range(dense.shape[2])
    ]
    found = []
    for index, mine in enumerate(fired):
        shares = [
            (len(mine & other) / len(mine | other), i)
            for i, other in enumerate(fired)
            if i != index and mine & other
        ]
        ranked = sorted(
            (-torch.tensor(share, dtype=torch.float32).item(), i) for share, i in shares
        )
        found.append([(i, len(mine & fired[i]), -negative) for negative, i in ranked[:count]])
    return found


def _feature(
    index: int,
    dense: Tensor,
    sequences: Sequence[SequenceRecord],
    tokens: int,
    top: int,
    bands: int,
    per_band: int,
    seed: int,
) -> Statistics:
    fired = [
        (value, row, position)
        for row, values in enumerate(dense.tolist())
        for position, value in enumerate(values)
        if value > 0
    ]
    if not fired:
        return Statistics(index, 0, 0.0, 0.0, 0.0, [0] * 64, 0.0, [0.0] * (bands + 1), [])
    values = [value for value, _, _ in fired]
    bound = 2.0 ** (math.floor(math.log2(max(values))) + 1)
    width, step = bound / 64, bound / 32
    histogram = [0] * 64
    for value in values:
        histogram[math.floor(value / width)] += 1
    steps = math.floor(max(values) / step) + 1
    edges = [step * math.floor(steps * (bands - i) / bands + 0.5) for i in range(bands + 1)]
    chosen = [(0, *entry) for entry in _top(fired, sequences, top)]
    for band in range(1, bands + 1):
        inside = [entry for entry in fired if edges[band] <= entry[0] < edges[band - 1]]
        chosen += [(band, *entry) for entry in _sample(index, inside, sequences, per_band, seed)]
    mean = math.fsum(values) / len(values)
    examples = _records(chosen, fired, sequences)
    return Statistics(
        index, len(fired), len(fired) / tokens, max(values), mean, histogram, width, edges, examples
    )


def _top(
    fired: list[tuple[float, int, int]], sequences: Sequence[SequenceRecord], top: int
) -> list[tuple[float, int, int]]:
    peaks: dict[int, tuple[float, int, int]] = {}
    for value, row, position in fired:
        if row not in peaks or value > peaks[row][0]:
            peaks[row] = (value, row, position)
    texts: set[tuple[int | None, ...]] = set()
    chosen: list[tuple[float, int, int]] = []
    for value, row, position in sorted(
        peaks.values(), key=lambda peak: (-peak[0], sequences[peak[1]].position)
    ):
        ids = sequences[row].token_ids
        text = tuple(
            ids[i] if 0 <= i < len(ids) else None for i in range(position - 16, position + 17)
        )
        if text not in texts and len(chosen) < top:
            chosen.append((value, row, position))
        texts.add(text)
    return chosen


def _sample(
    index: int,
    inside: list[tuple[float, int, int]],
    sequences: Sequence[SequenceRecord],
    count: int,
    seed: int,
) -> list[tuple[float, int, int]]:
    columns = torch.tensor(
        [(index, sequences[row].position, position) for _, row, position in inside],
        dtype=torch.int64,
    ).view(-1, 3)
    priorities = sample_priority(seed, *columns.unbind(1)).tolist()
    chosen: dict[int, tuple[float, int, int]] = {}
    for _, entry in sorted(zip(priorities, inside, strict=True)):
        if entry[1] not in chosen and len(chosen) < count:
            chosen[entry[1]] = entry
    return sorted(chosen.values(), key=lambda entry: (-entry[0], sequences[entry[1]].position))


def _records(
    chosen: list[tuple[int, float, int, int]],
    fired: list[tuple[float, int, int]],
    sequences: Sequence[SequenceRecord],
) -> list[ExampleRecord]:
    records: list[ExampleRecord] = []
    for band, _, row, peak in chosen:
        rank = sum(record.band == band for record in records)
        places = [(position, value) for value, at, position in fired if at == row]
        positions, values = [place for place, _ in places], [value for _, value in places]
        records.append(ExampleRecord(band, rank, sequences[row].position, peak, positions, values))
    return records
