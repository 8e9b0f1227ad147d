"""What one pass over a corpus accumulates about every feature, and how shards merge.

A batch arrives as sparse activations, ordered by (feature, sequence, position). Histograms, maxima
and the choice of examples are of absolute values; the values of examples have their sign. All
arithmetic on them is on integers or maxima, vectorised over features, so the result does not depend
on the order of batches. Memory on the device:

- for every two features the tokens on which both fire, 4 bytes (2 x features² in all; see
  `cooccurrence`, which has a limit);
- per feature 64 histogram counts, 4 sums and the worst priority of 33 groups of candidates, 8 bytes
  each (0.8 KB);
- per candidate 32 bytes; a feature has up to `top` + 32 x `per_band` of them (180 at the defaults),
  and no more than it has activations;
- per candidate the activations of its feature in its sequence, 16 bytes each;
- per sequence with a candidate its token ids, 4 bytes each.

None of this grows with the number of tokens once it is full.
"""

from operator import attrgetter
from typing import NamedTuple

import torch
from torch import Tensor

from features.records import LeftOut
from workers.pipeline.dashboards.batch import Batch, SparseActivations
from workers.pipeline.dashboards.candidates import CandidateActivations, CandidateStore
from workers.pipeline.dashboards.cooccurrence import Cooccurrence
from workers.pipeline.dashboards.histograms import Histograms
from workers.pipeline.dashboards.sorting import (
    LOW,
    pack_pair,
    run_lengths,
    run_starts,
    sorted_unique,
)
from workers.pipeline.dashboards.top_examples import (
    BestEntries,
    Entries,
    pack_payload,
    peak_priority,
    sample_priority,
    window_keys,
)

GRID = 32
"""Bins over [0, R) that samples are drawn from: each is two bins of the histogram."""

REACH = 16
"""Two peaks show the same text if this many tokens to either side are equal."""

STATE = (
    "histograms.counts",
    "histograms.exponents",
    "histograms.coarse",
    "histograms.fine",
    "histograms.maxima",
    "cooccurrence.counts",
)
"""The attributes of a `FeatureAccumulator` that hold its state, apart from candidates."""


class DashboardSettings(NamedTuple):
    """How much a dashboard shows, per feature, and how much is processed at once.

    `top`, `bands` and `per_band` count examples; `nearest`, `cofiring` and `logits` count entries
    of each list. `batch_sequences` and `features_per_range` are the sizes of one step. `seed` draws
    the samples.
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


class FeatureAccumulator:
    """Statistics and example candidates of `features` features.

    `add` batches in any order, `merge` shards, then read `histograms`, `cooccurrence`, `top`,
    `samples` and `candidates`. The samples have one group for each feature and bin of the grid.
    """

    def __init__(
        self, features: int, settings: DashboardSettings, device: torch.device | str = "cpu"
    ) -> None:
        self.tokens = 0
        self.left_out = LeftOut()
        self.features = features
        self.settings = settings
        self.histograms = Histograms(features, device)
        self.cooccurrence = Cooccurrence(features, device)
        self.top = BestEntries(features, settings.top, device)
        self.samples = BestEntries(features * GRID, settings.per_band, device)
        self.candidates = CandidateStore(features, device)

    def add(self, batch: Batch, activations: SparseActivations, first_positions: int = 0) -> None:
        """Add a batch and the activations on its counted tokens.

        `first_positions` of each sequence's ordinary tokens are left out in the batch.
        """
        self.tokens += int(batch.counted.sum())
        self.left_out = self.left_out.plus(_left_out(batch, first_positions))
        if not activations.value.numel():
            return
        feature, row, position, signed = activations
        activations = activations._replace(value=signed.abs())
        value = activations.value
        positions = [record.position for record in batch.sequences]
        sequence = torch.tensor(positions, device=feature.device)[row]
        self._widen_sample_bins(self.histograms.grow(feature, value))
        bins = self.histograms.add(feature, value)
        self.cooccurrence.add(feature, row * batch.token_ids.shape[1] + position)
        pairs = pack_pair(feature, sequence)
        run = run_starts(pairs)  # a run is the activations of one feature in one sequence
        run_of = run.cumsum(0) - 1
        is_candidate = torch.zeros(int(run.sum()), dtype=torch.bool, device=feature.device)
        is_candidate[run_of[self._offer_peaks(batch, activations, sequence, run, run_of)]] = True
        is_candidate[run_of[self._offer_samples(activations, sequence, bins)]] = True
        mask = is_candidate[run_of]
        self.candidates.add(
            batch, row[mask], CandidateActivations(pairs[mask], position[mask].int(), signed[mask])
        )
        self._compact_if_needed()

    def merge(self, other: "FeatureAccumulator") -> None:
        """Add a shard that saw other sequences, with the same settings.

        The ranges of the other's histograms are widened in place.
        """
        own_doublings, other_doublings = self.histograms.merge(other.histograms)
        self._widen_sample_bins(own_doublings)
        other._widen_sample_bins(other_doublings)
        self.cooccurrence.merge(other.cooccurrence)
        self.top.offer(other.top.entries)
        self.samples.offer(other.samples.entries)
        self.tokens += other.tokens
        self.left_out = self.left_out.plus(other.left_out)
        self.candidates.merge(other.candidates)
        self._compact_if_needed()

    def candidate_activations(self) -> CandidateActivations:
        """Return the activations of all candidates, ordered by (feature, sequence, position)."""
        return self.candidates.compact(self._candidate_pairs)

    def nbytes(self) -> int:
        """Bytes in use now, in tensors and token ids."""
        state = sum(attrgetter(name)(self).nbytes for name in STATE)
        return state + self.top.nbytes() + self.samples.nbytes() + self.candidates.nbytes()

    def tensors(self) -> dict[str, Tensor]:
        """Return the whole state by name, for `from_tensors`.

        - The attributes in `STATE`, "tokens" int64 [] and "left_out" int64 [3];
        - "top.*" and "samples.*" int64 [n], the columns of `Entries`;
        - "candidates.pairs", "candidates.positions" and "candidates.values" [n];
        - "sequences.*", see `CandidateStore.sequence_tensors`.
        """
        columns: dict[str, Entries | CandidateActivations] = {
            "top": self.top.entries,
            "samples": self.samples.entries,
            "candidates": self.candidate_activations(),
        }
        return {
            "tokens": torch.tensor(self.tokens),
            "left_out": torch.tensor(self.left_out),
            **{name: attrgetter(name)(self) for name in STATE},
            **{
                f"{name}.{column}": tensor
                for name, record in columns.items()
                for column, tensor in record._asdict().items()
            },
            **self.candidates.sequence_tensors(),
        }

    @classmethod
    def from_tensors(
        cls, tensors: dict[str, Tensor], settings: DashboardSettings, device: torch.device | str
    ) -> "FeatureAccumulator":
        """Return the accumulator whose state is `tensors`, on `device`."""
        features = len(tensors["histograms.maxima"])
        accumulator = cls(features, settings, device)
        accumulator.tokens = int(tensors["tokens"])
        accumulator.left_out = LeftOut(*tensors["left_out"].tolist())
        for name in STATE:
            owner, _, attribute = name.partition(".")
            setattr(getattr(accumulator, owner), attribute, tensors[name].to(device))
        for name in ("top", "samples"):
            columns = (tensors[f"{name}.{column}"].to(device) for column in Entries._fields)
            getattr(accumulator, name).offer(Entries(*columns))
        activations = CandidateActivations(
            *(tensors[f"candidates.{name}"].to(device) for name in CandidateActivations._fields)
        )
        accumulator.candidates = CandidateStore.from_tensors(features, activations, tensors)
        return accumulator

    def _offer_peaks(
        self,
        batch: Batch,
        activations: SparseActivations,
        sequence: Tensor,
        run: Tensor,
        run_of: Tensor,
    ) -> Tensor:
        """Offer each feature's peak in each sequence; return the indices of the admitted ones."""
        value = activations.value
        highest = torch.segment_reduce(value, "max", lengths=run_lengths(run), unsafe=True)
        at_peak = (value == highest[run_of]).nonzero()[:, 0]
        peak = at_peak[run_starts(run_of[at_peak])]  # the first position with the maximum
        priority = peak_priority(value[peak], sequence[peak])
        admitted = self.top.would_admit(activations.feature[peak], priority)
        peak, priority = peak[admitted], priority[admitted]
        row, position = activations.row[peak], activations.position[peak]
        keys = window_keys(batch.token_ids, batch.real, REACH)[row, position]
        payload = pack_payload(position, value[peak])
        self.top.offer(Entries(activations.feature[peak], priority, keys, payload))
        return peak

    def _offer_samples(
        self, activations: SparseActivations, sequence: Tensor, bins: Tensor
    ) -> Tensor:
        """Offer every activation to the sample of its bin; return the indices of the admitted
        ones.
        """
        feature, _, position, value = activations
        group = feature * GRID + bins // (64 // GRID)
        priority = sample_priority(self.settings.seed, feature, sequence, position)
        admitted = self.samples.would_admit(group, priority).nonzero()[:, 0]
        payload = pack_payload(position[admitted], value[admitted])
        self.samples.offer(
            Entries(group[admitted], priority[admitted], sequence[admitted], payload)
        )
        return admitted

    def _widen_sample_bins(self, doublings: Tensor) -> None:
        """Merge the bins of samples after the histogram ranges doubled `doublings` [features]
        times.
        """
        if doublings.any():
            self.samples.regroup(
                lambda group: group // GRID * GRID + (group % GRID >> doublings[group // GRID])
            )

    def _compact_if_needed(self) -> None:
        if self.candidates.needs_compaction():
            self.candidates.compact(self._candidate_pairs)

    def _candidate_pairs(self, start: int, stop: int) -> Tensor:
        """Return the (feature, sequence) pairs of the candidates of features [start, stop), packed
        and sorted.
        """
        top, sample = self.top.between(start, stop), self.samples.between(start * GRID, stop * GRID)
        peaks = pack_pair(top.group, top.priority & LOW)
        return sorted_unique(torch.cat([peaks, pack_pair(sample.group // GRID, sample.key)]))


def _left_out(batch: Batch, first_positions: int) -> LeftOut:
    ordinary = batch.real & ~batch.special
    first = ordinary & (ordinary.cumsum(1) <= first_positions)
    return LeftOut(int(batch.special.sum()), int(first.sum()), int((batch.left_out & ~first).sum()))
