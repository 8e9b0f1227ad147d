"""From what a pass kept to the records that ingest writes: one `FeatureRange` at a time, so that
little is in memory.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from sae_lens import SAE

from features.records import ExampleRecord, FeatureRange, FeatureRecord, SequenceRecord
from workers.pipeline.dashboards.accumulator import GRID, Tally
from workers.pipeline.dashboards.histograms import BINS, band_edges, power_of_two
from workers.pipeline.dashboards.logit_lens import LogitTable, masked_tokens, readout, to_residual
from workers.pipeline.dashboards.neighbors import encoder_decoder_cosine, nearest
from workers.pipeline.dashboards.sorting import LOW, pair
from workers.pipeline.dashboards.top_examples import Best, Entries, unpack_payload
from workers.pipeline.model.language import Language
from workers.pipeline.sae.io import saved_decoder_norms


class Chosen(NamedTuple):
    """Examples of some features as columns [n] on the CPU, ordered by (feature, band, falling peak,
    sequence).
    """

    feature: np.ndarray
    band: np.ndarray
    sequence: np.ndarray
    peak: np.ndarray
    value: np.ndarray


def feature_ranges(
    language: Language, sae: SAE, hook: str, tally: Tally, first: int = 0
) -> Iterator[FeatureRange]:
    """Yield every feature of `sae` from `first` on, in order, in ranges with the sequences that
    their examples need.
    """
    lens = readout(language.model, masked_tokens(language))
    decoder, settings = sae.W_dec.detach(), tally.settings
    stored = [column.cpu().numpy() for column in tally.stored()]
    with _frozen():
        for start in range(first, len(decoder), settings.features_per_range):
            stop = min(start + settings.features_per_range, len(decoder))
            chosen = choose(tally, start, stop)
            directions = to_residual(language.model, decoder[start:stop].to(lens.gain.device), hook)
            columns = {
                "index": list(range(start, stop)),
                **_statistics(tally, start, stop),
                **_effects(lens.table(directions, settings.logits)),
                **_geometry(sae, tally, start, stop),
                **_together(tally, start, stop),
                "examples": _examples(chosen, stored, start, stop),
            }
            records = [
                FeatureRecord(**dict(zip(columns, row, strict=True)))
                for row in zip(*columns.values(), strict=True)
            ]
            needed = [
                (position, tally.sequences[position])
                for position in np.unique(chosen.sequence).tolist()
            ]
            sequences = [
                SequenceRecord(position, document, ids.tolist())
                for position, (document, ids) in needed
            ]
            yield FeatureRange(start, stop, tally.tokens, records, sequences)


@contextmanager
def _frozen() -> Iterator[None]:
    """Have the garbage collector leave alone what is there: looking through all of torch took half
    of the time here.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def choose(tally: Tally, start: int, stop: int) -> Chosen:
    """Pick the examples of features [start, stop) among a tally's candidates: the top ones, and a
    sample of each band.
    """
    top = tally.top.between(start, stop)
    bands = tally.settings.bands
    samples = _band_samples(tally, start, stop)
    group, _, sampled, payload = samples.entries
    feature = torch.cat([top[0], start + group // bands])
    band = torch.cat([torch.zeros_like(top[0]), 1 + group % bands])
    sequence = torch.cat([top[1] & LOW, sampled])
    peak, value = unpack_payload(torch.cat([top[3], payload]))
    columns = [column.cpu().numpy() for column in (feature, band, sequence, peak, value)]
    order = np.lexsort((columns[2], -columns[4], columns[1], columns[0]))
    return Chosen(*(column[order] for column in columns))


def _band_samples(tally: Tally, start: int, stop: int) -> Best:
    """Join the samples of the grid's bins to samples of bands: still the smallest priorities, one
    per sequence.
    """
    sums, bands = tally.histograms, tally.settings.bands
    edges = band_edges(sums.maxima[start:stop], sums.exponents[start:stop], GRID, bands)
    group, priority, sequence, payload = tally.samples.between(start * GRID, stop * GRID)
    feature = group // GRID - start
    band = (edges[feature, 1:] > (group % GRID)[:, None]).sum(1)
    joined = Best((stop - start) * bands, tally.settings.per_band, edges.device)
    joined.offer(Entries(feature * bands + band, priority, sequence, payload))
    return joined


def _examples(
    chosen: Chosen, stored: list[np.ndarray], start: int, stop: int
) -> list[list[ExampleRecord]]:
    """Records of each of features [start, stop), each with every firing of the feature in the
    sequence.
    """
    pairs, positions, values = stored
    wanted = pair(torch.from_numpy(chosen.feature), torch.from_numpy(chosen.sequence)).numpy()
    begins, ends = np.searchsorted(pairs, wanted, "left"), np.searchsorted(pairs, wanted, "right")
    stops = (ends - begins).cumsum()
    firings = np.arange(stops[-1] if len(stops) else 0) + np.repeat(ends - stops, ends - begins)
    columns = (
        column.tolist() for column in (chosen.band, _ranks(chosen), chosen.sequence, chosen.peak)
    )
    cuts = [slice(*cut) for cut in pairwise([0, *stops.tolist()])]
    lists = (
        [column[cut] for cut in cuts]
        for column in (positions[firings].tolist(), values[firings].tolist())
    )
    records = list(map(ExampleRecord, *columns, *lists))
    bounds = np.searchsorted(chosen.feature, np.arange(start, stop + 1)).tolist()
    return [records[begin:end] for begin, end in pairwise(bounds)]


def _ranks(chosen: Chosen) -> np.ndarray:
    """The place of each example in its band of its feature."""
    places = np.arange(len(chosen.feature))
    new = np.ones(len(places), dtype=bool)
    new[1:] = (np.diff(chosen.feature) != 0) | (np.diff(chosen.band) != 0)
    return places - np.maximum.accumulate(np.where(new, places, 0))


def _statistics(tally: Tally, start: int, stop: int) -> dict[str, list[Any]]:
    sums, rows = tally.histograms, slice(start, stop)
    fires = sums.counts[rows].sum(1)
    edges = band_edges(sums.maxima[rows], sums.exponents[rows], GRID, tally.settings.bands)
    widths = torch.where(fires > 0, power_of_two(sums.exponents[rows]) / BINS, 0)
    return {
        "fires": fires.tolist(),
        "density": (fires.double() / tally.tokens).tolist(),
        "max_activation": sums.maxima[rows].tolist(),
        "mean_activation": (sums.totals[rows] / fires.clamp(min=1)).tolist(),
        "histogram": sums.counts[rows].tolist(),
        "histogram_width": widths.tolist(),
        "band_edges": (edges * (BINS // GRID) * widths[:, None]).tolist(),
    }


def _effects(table: LogitTable) -> dict[str, list[Any]]:
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
def _geometry(sae: SAE, tally: Tally, start: int, stop: int) -> dict[str, list[Any]]:
    decoder, cofiring = sae.W_dec.detach().float(), tally.cofiring
    indices, cosines = nearest(decoder, tally.settings.nearest, start, stop)
    rows = torch.arange(start, stop, device=indices.device)[:, None]
    both = cofiring.both(rows, indices) if cofiring.counted else indices[:, :0]
    agreement = encoder_decoder_cosine(sae.W_enc.detach()[:, start:stop], decoder[start:stop])
    return {
        "nearest": indices.tolist(),
        "nearest_cosines": cosines.tolist(),
        "nearest_both": both.tolist(),
        "decoder_norm": saved_decoder_norms(sae)[start:stop].tolist(),
        "encoder_decoder_cosine": agreement.tolist(),
    }


def _together(tally: Tally, start: int, stop: int) -> dict[str, list[Any]]:
    found = tally.cofiring.partners(tally.histograms.fires, tally.settings.cofiring, start, stop)
    return {
        "cofiring": found.indices,
        "cofiring_both": found.both,
        "cofiring_jaccards": found.jaccards,
    }
