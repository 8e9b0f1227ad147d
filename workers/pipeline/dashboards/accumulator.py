"""What one streaming pass keeps about every feature, and how two shards of a pass become one.

A batch arrives as its firings: the sparse positive activations, in order of (feature, sequence,
position). Everything is integer or maximum arithmetic on those, vectorised over features. Memory on
the device:

- per two features the tokens on which both fire, 4 bytes (2 x features² in all; see `cofiring`,
  which has a limit);
- per feature 64 words of histogram, 4 of sums and the worst priority of 33 groups of candidates, 8
  bytes each (0.8 KB);
- per candidate 32 bytes; a feature holds up to `top` + 32 x `per_band` (180 at the defaults), and
  no more than it has firings;
- per candidate the firings of that feature in that sequence, 16 bytes each;
- per sequence that any candidate lies in, its token ids, 4 bytes each.

Firings of candidates are kept when they are seen, so no second forward pass is needed for the
values of an example. What later candidates push out is swept whenever the store has doubled. None
of this grows with the tokens once it is full.
"""

import json
from operator import attrgetter
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from features.records import SequenceRecord
from workers.pipeline.dashboards.cooccurrence import CoFiring
from workers.pipeline.dashboards.histograms import Histograms
from workers.pipeline.dashboards.sorting import (
    LOW,
    SEQUENCE_BITS,
    distinct,
    pair,
    run_lengths,
    stable_argsort,
    starts,
)
from workers.pipeline.dashboards.top_examples import (
    Best,
    Entries,
    pack_payload,
    peak_priority,
    sample_priority,
    window_keys,
)

GRID = 32
"""Bins over [0, R) that samples are drawn from: each is two bins of the histogram."""

REACH = 16
"""Two peaks show the same text if the tokens up to so far to each side are the same."""

SWEEP_FLOOR = 1 << 18
SWEEP_FEATURES = 1 << 14

STATE = (
    "histograms.counts",
    "histograms.exponents",
    "histograms.coarse",
    "histograms.fine",
    "histograms.maxima",
    "cofiring.counts",
)
"""The attributes of a `Tally` that are its state, besides candidates and their firings and
sequences.
"""


class DashboardSettings(NamedTuple):
    """How much a dashboard shows; `seed` draws the samples. All counts are per feature, sizes per
    step of work.
    """

    top: int = 20
    bands: int = 5
    per_band: int = 5
    batch_sequences: int = 32
    seed: int = 0
    features_per_range: int = 256
    nearest: int = 10
    cofiring: int = 10
    logits: int = 10


class Firings(NamedTuple):
    """Positive activations [n] ordered by (feature, row, position); `row` is the place in the
    batch.
    """

    feature: Tensor
    row: Tensor
    position: Tensor
    value: Tensor


class Batch(NamedTuple):
    """Sequences as one tensor: `token_ids` int64 [batch, pos], `real` where it is no padding,
    `counted` where not special.
    """

    sequences: list[SequenceRecord]
    token_ids: Tensor
    real: Tensor
    counted: Tensor

    def to(self, device: torch.device) -> "Batch":
        """The same batch with its tensors on `device`."""
        moved = (
            part.to(device, non_blocking=True) for part in (self.token_ids, self.real, self.counted)
        )
        return Batch(self.sequences, *moved)

    def pinned(self) -> "Batch":
        """The same batch in memory that a GPU copies from while it computes."""
        return Batch(
            self.sequences,
            *(part.pin_memory() for part in (self.token_ids, self.real, self.counted)),
        )


class Stored(NamedTuple):
    """Kept firings [n] as columns: (feature, sequence) packed by `pair`, position in the sequence,
    activation.
    """

    pairs: Tensor
    positions: Tensor
    values: Tensor


class Tally:
    """Everything a pass keeps about `features` features. `add` batches in any order, `merge`
    shards, then read the parts.
    """

    def __init__(
        self, features: int, settings: DashboardSettings, device: torch.device | str = "cpu"
    ) -> None:
        self.tokens = 0
        self.features = features
        self.settings = settings
        self.histograms = Histograms(features, device)
        self.cofiring = CoFiring(features, device)
        self.top = Best(features, settings.top, device)
        self.samples = Best(features * GRID, settings.per_band, device)
        self.sequences: dict[int, tuple[str, np.ndarray]] = {}
        empty = torch.zeros(0, dtype=torch.int64, device=device)
        self._stored = [Stored(empty, empty.int(), empty.float())]
        self._swept = SWEEP_FLOOR

    def add(self, batch: Batch, firings: Firings) -> None:
        """Take in one batch and the firings on its counted tokens."""
        self.tokens += int(batch.counted.sum())
        if not firings.value.numel():
            return
        feature, row, position, value = firings
        positions = [record.position for record in batch.sequences]
        sequence = torch.tensor(positions, device=feature.device)[row]
        self._coarsen(self.histograms.grow(feature, value))
        bins = self.histograms.add(feature, value)
        self.cofiring.add(feature, row * batch.token_ids.shape[1] + position)
        run = starts(
            pair(feature, sequence)
        )  # where the firings of one feature in one sequence begin
        run_of = run.cumsum(0) - 1
        chosen = torch.zeros(int(run.sum()), dtype=torch.bool, device=feature.device)
        chosen[run_of[self._offer_peaks(batch, firings, sequence, run, run_of)]] = True
        chosen[run_of[self._offer_samples(firings, sequence, bins)]] = True
        kept = chosen[run_of]
        self._stored.append(
            Stored(pair(feature, sequence)[kept], position[kept].int(), value[kept])
        )
        for index in torch.bincount(row[kept]).nonzero()[:, 0].tolist():
            record = batch.sequences[index]
            self.sequences[record.position] = (
                record.document,
                np.asarray(record.token_ids, dtype=np.int32),
            )
        self._sweep_if_due()

    def merge(self, other: "Tally") -> None:
        """Add a shard that saw other sequences, made with the same settings. Its ranges are widened
        in place.
        """
        ours, theirs = self.histograms.merge(other.histograms)
        self._coarsen(ours)
        other._coarsen(theirs)
        self.cofiring.merge(other.cofiring)
        for mine, shard in ((self.top, other.top), (self.samples, other.samples)):
            mine.offer(shard.entries)
        self.tokens += other.tokens
        self.sequences |= other.sequences
        self._stored += other._stored
        self._sweep_if_due()

    def stored(self) -> Stored:
        """Return the firings of all candidates, ordered by (feature, sequence, position)."""
        self._sweep()
        return self._stored[0]

    def nbytes(self) -> int:
        """Bytes held now, in tensors and token ids."""
        tensors = [attrgetter(name)(self) for name in STATE] + [
            part for chunk in self._stored for part in chunk
        ]
        ids = sum(token_ids.nbytes for _, token_ids in self.sequences.values())
        return (
            self.top.nbytes()
            + self.samples.nbytes()
            + sum(tensor.nbytes for tensor in tensors)
            + ids
        )

    def tensors(self) -> dict[str, Tensor]:
        """Return the whole state by name, so that `from_tensors` goes on from it. Names are those
        of attributes, and

        - "top.*" and "samples.*" int64 [n], the columns of `Entries`; "tokens" int64 [];
        - "stored.pairs", "stored.positions", "stored.values" [n], the firings of candidates;
        - "sequences.position" and "sequences.length" int64 [sequences], "sequences.token_ids" int32
          end to end, and
          "sequences.documents" uint8, their names as one JSON list in UTF-8.
        """
        stored = self.stored()._asdict()
        positions = sorted(self.sequences)
        documents = json.dumps([self.sequences[position][0] for position in positions]).encode()
        ids = [self.sequences[position][1] for position in positions]
        return {name: attrgetter(name)(self) for name in STATE} | {
            "tokens": torch.tensor(self.tokens),
            **{f"top.{name}": column for name, column in self.top.entries._asdict().items()},
            **{
                f"samples.{name}": column for name, column in self.samples.entries._asdict().items()
            },
            **{f"stored.{name}": column for name, column in stored.items()},
            "sequences.position": torch.tensor(positions, dtype=torch.int64),
            "sequences.length": torch.tensor([len(some) for some in ids], dtype=torch.int64),
            "sequences.token_ids": torch.from_numpy(np.concatenate([np.zeros(0, np.int32), *ids])),
            "sequences.documents": torch.frombuffer(bytearray(documents), dtype=torch.uint8),
        }

    @classmethod
    def from_tensors(
        cls, tensors: dict[str, Tensor], settings: DashboardSettings, device: torch.device | str
    ) -> "Tally":
        """Return the tally that `tensors` were taken of, on `device`."""
        tally = cls(len(tensors["histograms.maxima"]), settings, device)
        tally.tokens = int(tensors["tokens"])
        for name in STATE:
            owner, _, part = name.partition(".")
            setattr(getattr(tally, owner), part, tensors[name].to(device))
        for best, kept in ((tally.top, "top"), (tally.samples, "samples")):
            best.offer(Entries(*(tensors[f"{kept}.{name}"].to(device) for name in Entries._fields)))
        tally._stored = [Stored(*(tensors[f"stored.{name}"].to(device) for name in Stored._fields))]
        tally._swept = max(SWEEP_FLOOR, len(tally._stored[0].pairs))
        names = json.loads(bytes(tensors["sequences.documents"].numpy()))
        lengths = tensors["sequences.length"].tolist()
        ids = np.split(tensors["sequences.token_ids"].numpy(), np.cumsum(lengths)[:-1])
        entries = zip(
            tensors["sequences.position"].tolist(), names, ids, strict=False
        )  # split makes a piece of nothing
        tally.sequences = {position: (name, some) for position, name, some in entries}
        return tally

    def _offer_peaks(
        self, batch: Batch, firings: Firings, sequence: Tensor, run: Tensor, run_of: Tensor
    ) -> Tensor:
        """Offer each feature's peak in each sequence; return the indices of those that found a
        place.
        """
        value = firings.value
        highest = torch.segment_reduce(value, "max", lengths=run_lengths(run), unsafe=True)
        at_peak = (value == highest[run_of]).nonzero()[:, 0]
        peak = at_peak[starts(run_of[at_peak])]  # the first position where the maximum is reached
        peak = peak[
            self.top.admits(firings.feature[peak], peak_priority(value[peak], sequence[peak]))
        ]
        keys = window_keys(batch.token_ids, batch.real, REACH)[
            firings.row[peak], firings.position[peak]
        ]
        payload = pack_payload(firings.position[peak], value[peak])
        self.top.offer(
            Entries(
                firings.feature[peak], peak_priority(value[peak], sequence[peak]), keys, payload
            )
        )
        return peak

    def _offer_samples(self, firings: Firings, sequence: Tensor, bins: Tensor) -> Tensor:
        """Offer every firing to the sample of its bin; return the indices of those that found a
        place.
        """
        group = firings.feature * GRID + bins // (64 // GRID)
        priority = sample_priority(self.settings.seed, firings.feature, sequence, firings.position)
        lucky = self.samples.admits(group, priority).nonzero()[:, 0]
        payload = pack_payload(firings.position[lucky], firings.value[lucky])
        self.samples.offer(Entries(group[lucky], priority[lucky], sequence[lucky], payload))
        return lucky

    def _coarsen(self, shifts: Tensor) -> None:
        """Join the bins of samples as the ranges of the histograms doubled `shifts` [features]
        times.
        """
        if shifts.any():
            self.samples.rename(
                lambda group: group // GRID * GRID + (group % GRID >> shifts[group // GRID])
            )

    def _sweep_if_due(self) -> None:
        if sum(len(chunk.pairs) for chunk in self._stored) > 2 * self._swept:
            self._sweep()

    def _sweep(self) -> None:
        """Drop firings and sequences that no candidate needs any more, some features at a time to
        need little room.
        """
        pairs, positions, values = (torch.cat(parts) for parts in zip(*self._stored, strict=True))
        order = stable_argsort(pairs)
        ordered = pairs[order]
        kept, live = [order[:0]], set()
        for start in range(0, self.features, SWEEP_FEATURES):
            stop = min(start + SWEEP_FEATURES, self.features)
            needed = self._needed(start, stop)
            begin, end = torch.searchsorted(
                ordered, pairs.new_tensor([start, stop]) << SEQUENCE_BITS
            ).tolist()
            kept.append(order[begin:end][_among(ordered[begin:end], needed)])
            live.update(torch.unique(needed & LOW).tolist())
        wanted = torch.cat(kept)
        self._stored = [Stored(pairs[wanted], positions[wanted], values[wanted])]
        self._swept = max(SWEEP_FLOOR, len(wanted))
        self.sequences = _together(
            {position: entry for position, entry in self.sequences.items() if position in live}
        )

    def _needed(self, start: int, stop: int) -> Tensor:
        """Return each (feature, sequence) that some candidate of features [start, stop) lies in,
        packed and rising.
        """
        top, sample = self.top.between(start, stop), self.samples.between(start * GRID, stop * GRID)
        return distinct(
            torch.cat([pair(top.group, top.priority & LOW), pair(sample.group // GRID, sample.key)])
        )


def _among(keys: Tensor, rising: Tensor) -> Tensor:
    """Return whether each of `keys` [n] is in `rising`; `torch.isin` needs six times the room."""
    if not len(rising):
        return torch.zeros_like(keys, dtype=torch.bool)
    return rising[torch.searchsorted(rising, keys).clamp_(max=len(rising) - 1)] == keys


def _together(sequences: dict[int, tuple[str, np.ndarray]]) -> dict[int, tuple[str, np.ndarray]]:
    """The same sequences with their token ids end to end in one piece of memory.

    Apart, each would hold a page of the heap that the temporary data around it left long ago.
    """
    every = np.concatenate([np.zeros(0, np.int32), *(ids for _, ids in sequences.values())])
    ends = np.cumsum([len(ids) for _, ids in sequences.values()])
    pieces = zip(
        sequences.items(), np.split(every, ends), strict=False
    )  # split makes a piece of what is after the last
    return {position: (document, ids) for (position, (document, _)), ids in pieces}
