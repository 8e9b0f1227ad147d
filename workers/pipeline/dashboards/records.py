"""Turn what a pass accumulated into records, one `FeatureRange` at a time to limit memory."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from sae_lens import SAE

from features.records import ExampleRecord, FeatureRange, FeatureRecord, SequenceRecord
from workers.pipeline.dashboards.accumulator import GRID, FeatureAccumulator
from workers.pipeline.dashboards.histograms import BINS, band_edges, power_of_two
from workers.pipeline.dashboards.logit_lens import (
    LogitTable,
    find_readout,
    masked_tokens,
    to_residual,
)
from workers.pipeline.dashboards.neighbors import encoder_decoder_cosine, nearest_features
from workers.pipeline.dashboards.sorting import LOW, pack_pair
from workers.pipeline.dashboards.top_examples import BestEntries, Entries, unpack_payload
from workers.pipeline.model.language import Language
from workers.pipeline.sae.folding import saved_decoder_norms

Columns = dict[str, list[Any]]
"""Fields of `FeatureRecord`: a list with one value for each feature."""


class SelectedExamples(NamedTuple):
    """Examples of some features as columns [n] on the CPU, ordered by (feature, band, falling peak,
    sequence).
    """

    feature: np.ndarray
    band: np.ndarray
    sequence: np.ndarray
    peak: np.ndarray
    value: np.ndarray


def feature_ranges(
    language: Language, sae: SAE, hook: str, accumulator: FeatureAccumulator, first: int = 0
) -> Iterator[FeatureRange]:
    """Yield every feature of `sae` from `first` on, in order, in ranges with the sequences of their
    examples. `hook` is the one that the SAE writes to.
    """
    readout = find_readout(language.model, masked_tokens(language))
    decoder, settings = sae.W_dec.detach(), accumulator.settings
    activations = [column.cpu().numpy() for column in accumulator.candidate_activations()]
    with _frozen_heap():
        for start in range(first, len(decoder), settings.features_per_range):
            stop = min(start + settings.features_per_range, len(decoder))
            examples = select_examples(accumulator, start, stop)
            rows = decoder[start:stop].to(readout.gain.device)
            directions = to_residual(language.model, rows, hook)
            columns: Columns = {
                "index": list(range(start, stop)),
                **_statistics(accumulator, start, stop),
                **_logit_effects(readout.table(directions, settings.logits)),
                **_geometry(sae, accumulator, start, stop),
                **_cooccurrence(accumulator, start, stop),
                "examples": _example_records(accumulator, examples, activations, start, stop),
            }
            features = [
                FeatureRecord(**dict(zip(columns, values, strict=True)))
                for values in zip(*columns.values(), strict=True)
            ]
            sequences = _sequence_records(accumulator, examples)
            yield FeatureRange(start, stop, accumulator.tokens, features, sequences)


@contextmanager
def _frozen_heap() -> Iterator[None]:
    """Exclude existing objects from garbage collection: walking all of torch took half of the time
    of computing the records.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def select_examples(accumulator: FeatureAccumulator, start: int, stop: int) -> SelectedExamples:
    """Select the examples of features [start, stop): the top ones, and a sample of each band."""
    top = accumulator.top.between(start, stop)
    bands = accumulator.settings.bands
    samples = _band_samples(accumulator, start, stop).entries
    feature = torch.cat([top.group, start + samples.group // bands])
    band = torch.cat([torch.zeros_like(top.group), 1 + samples.group % bands])
    sequence = torch.cat([top.priority & LOW, samples.key])
    peak, value = unpack_payload(torch.cat([top.payload, samples.payload]))
    columns = [column.cpu().numpy() for column in (feature, band, sequence, peak, value)]
    order = np.lexsort((columns[2], -columns[4], columns[1], columns[0]))
    return SelectedExamples(*(column[order] for column in columns))


def _band_samples(accumulator: FeatureAccumulator, start: int, stop: int) -> BestEntries:
    """Merge the samples of the grid's bins into samples of bands: again the smallest priorities,
    one per sequence.
    """
    histograms, settings = accumulator.histograms, accumulator.settings
    maxima, exponents = histograms.maxima[start:stop], histograms.exponents[start:stop]
    edges = band_edges(maxima, exponents, GRID, settings.bands)
    samples = accumulator.samples.between(start * GRID, stop * GRID)
    feature = samples.group // GRID - start
    band = (edges[feature, 1:] > (samples.group % GRID)[:, None]).sum(1)
    merged = BestEntries((stop - start) * settings.bands, settings.per_band, edges.device)
    merged.offer(Entries(feature * settings.bands + band, *samples[1:]))
    return merged


def _example_records(
    accumulator: FeatureAccumulator,
    examples: SelectedExamples,
    activations: list[np.ndarray],
    start: int,
    stop: int,
) -> list[list[ExampleRecord]]:
    """Return the records of each feature of [start, stop), with all activations of the feature in
    each example's sequence.

    `activations` are the columns of `CandidateActivations`.
    """
    pairs, positions, values = activations
    keys = pack_pair(torch.from_numpy(examples.feature), torch.from_numpy(examples.sequence))
    begins = np.searchsorted(pairs, keys.numpy(), "left")
    ends = np.searchsorted(pairs, keys.numpy(), "right")
    stops = (ends - begins).cumsum()
    indices = np.arange(stops[-1] if len(stops) else 0) + np.repeat(ends - stops, ends - begins)
    columns = (examples.band, _ranks(examples), examples.sequence, examples.peak)
    slices = [slice(*bounds) for bounds in pairwise([0, *stops.tolist()])]
    lists = (
        [column[part] for part in slices]
        for column in (positions[indices].tolist(), values[indices].tolist())
    )
    stored = accumulator.candidates.sequences
    left_out = [
        tuple(stored[position].left_out.tolist()) for position in examples.sequence.tolist()
    ]
    records = list(map(ExampleRecord, *(column.tolist() for column in columns), *lists, left_out))
    bounds = np.searchsorted(examples.feature, np.arange(start, stop + 1)).tolist()
    return [records[begin:end] for begin, end in pairwise(bounds)]


def _ranks(examples: SelectedExamples) -> np.ndarray:
    """Return the rank of each example in its feature's band, from 0."""
    indices = np.arange(len(examples.feature))
    first = np.ones(len(indices), dtype=bool)
    first[1:] = (np.diff(examples.feature) != 0) | (np.diff(examples.band) != 0)
    return indices - np.maximum.accumulate(np.where(first, indices, 0))


def _sequence_records(
    accumulator: FeatureAccumulator, examples: SelectedExamples
) -> list[SequenceRecord]:
    records = []
    for position in np.unique(examples.sequence).tolist():
        row = accumulator.candidates.sequences[position]
        records.append(SequenceRecord(position, row.document, row.token_ids.tolist()))
    return records


def _statistics(accumulator: FeatureAccumulator, start: int, stop: int) -> Columns:
    histograms, rows = accumulator.histograms, slice(start, stop)
    maxima, exponents = histograms.maxima[rows], histograms.exponents[rows]
    fires = histograms.counts[rows].sum(1)
    edges = band_edges(maxima, exponents, GRID, accumulator.settings.bands)
    widths = torch.where(fires > 0, power_of_two(exponents) / BINS, 0)
    return {
        "fires": fires.tolist(),
        "density": (fires.double() / accumulator.tokens).tolist(),
        "max_activation": maxima.tolist(),
        "mean_activation": (histograms.totals[rows] / fires.clamp(min=1)).tolist(),
        "histogram": histograms.counts[rows].tolist(),
        "histogram_width": widths.tolist(),
        "band_edges": (edges * (BINS // GRID) * widths[:, None]).tolist(),
    }


def _logit_effects(table: LogitTable) -> Columns:
    return {
        "top_logit_ids": table.top_ids.tolist(),
        "top_logits": table.top.tolist(),
        "bottom_logit_ids": table.bottom_ids.tolist(),
        "bottom_logits": table.bottom.tolist(),
        "logit_histogram": table.histogram.tolist(),
        "logit_low": table.low.tolist(),
        "logit_high": table.high.tolist(),
    }


@torch.no_grad()
def _geometry(sae: SAE, accumulator: FeatureAccumulator, start: int, stop: int) -> Columns:
    decoder, cooccurrence = sae.W_dec.detach().float(), accumulator.cooccurrence
    indices, cosines = nearest_features(decoder, accumulator.settings.nearest, start, stop)
    rows = torch.arange(start, stop, device=indices.device)[:, None]
    shared = indices[:, :0]
    if cooccurrence.counted:
        shared = cooccurrence.shared_tokens(rows, indices)
    agreement = encoder_decoder_cosine(sae.W_enc.detach()[:, start:stop], decoder[start:stop])
    return {
        "nearest": indices.tolist(),
        "nearest_cosines": cosines.tolist(),
        "nearest_both": shared.tolist(),
        "decoder_norm": saved_decoder_norms(sae)[start:stop].tolist(),
        "encoder_decoder_cosine": agreement.tolist(),
    }


def _cooccurrence(accumulator: FeatureAccumulator, start: int, stop: int) -> Columns:
    firing_counts, count = accumulator.histograms.firing_counts, accumulator.settings.cofiring
    partners = accumulator.cooccurrence.most_cooccurring(firing_counts, count, start, stop)
    return {
        "cofiring": partners.indices,
        "cofiring_both": partners.shared_tokens,
        "cofiring_jaccards": partners.jaccards,
    }
