"""Dashboards of every feature of an SAE from one streaming pass over a corpus.

    sequences -> batches -> activations at the hook -> encode -> sparse firings
    -> Tally -> records

The SAE is encoded whole (TopK needs that), in blocks of tokens so that the dense activations stay
small, and everything after it works on the positive ones alone. Definitions, per feature, over the
tokens that are not special:

- density: firings / tokens counted; mean: over firings; maximum, histogram: exact. An activation of
  0 is no firing.
- special tokens are left out by id before encoding: they count nowhere, never are a peak, and carry
  no value in an example,
  but they are part of its sequence. Tokens of extreme norm that are not special (attention sinks)
  are counted as any other.
- top examples (band 0): the highest peaks, one per sequence; of several peaks with the same 16
  tokens to either side, one.
- bands 1 (highest) to 5: the activation range [0, maximum] in nearly equal parts
  (`FeatureRecord.band_edges`, falling), each
  with an even sample of its firing tokens, at most one per sequence, ranked by activation.
- co-firing: tokens on which two features both fire, exact; partners by Jaccard index (`cofiring`,
  which has a widest SAE).

The pass depends on the corpus, the SAE and `seed`, not on the order or size of batches; two runs
give the same records.
"""

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from sae_lens import SAE, AbsTopKSAE

from features.records import (
    Checkpoint,
    FeatureRange,
    InvalidInput,
    LogLine,
    Progress,
    SequenceRecord,
)
from workers.pipeline.dashboards import checkpoint as scan_checkpoint
from workers.pipeline.dashboards.accumulator import GRID, DashboardSettings, Tally
from workers.pipeline.dashboards.cooccurrence import WIDEST
from workers.pipeline.dashboards.corpus_pass import WHOLE, Scan, Shard, Target, scan
from workers.pipeline.dashboards.logit_lens import to_residual
from workers.pipeline.dashboards.records import feature_ranges
from workers.pipeline.model.hooks import resolve_hook
from workers.pipeline.model.language import Language
from workers.pipeline.sae.io import written_hook

DEFAULTS = DashboardSettings()
CHECKPOINT_SECONDS = 60.0
CHECKPOINT_SHARE = 0.02
"""A scan is put down no more often than so many seconds, and so seldom that it takes no more than
this share of the time.
"""


def dashboards(
    language: Language,
    sae: SAE,
    hook: str,
    sequences: Iterable[SequenceRecord],
    tokens: int,
    settings: DashboardSettings = DEFAULTS,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Progress | LogLine | FeatureRange]:
    """Yield the dashboards of all features over the first `tokens` tokens that are not special.

    The pass counts exactly `tokens`, or fewer where the corpus ends before. Progress counts tokens,
    then features. Where `should_stop` turns true, the generator ends early. Raises `InvalidInput`
    for what does not fit together.
    """
    target = Target(sae, hook)
    check(language, target, tokens, settings)
    for record in read_corpus(
        language, [target], sequences, tokens, settings, should_stop=should_stop
    ):
        if isinstance(record, Progress):
            yield record
        elif isinstance(record, Scan):
            yield from about(target, record.tallies[0], tokens)
            for part in feature_ranges(language, sae, written_hook(sae, hook), record.tallies[0]):
                yield part
                yield Progress(part.stop, sae.cfg.d_sae, "features", "Writing dashboards")
                if should_stop():
                    return


def read_corpus(
    language: Language,
    targets: Sequence[Target],
    sequences: Iterable[SequenceRecord],
    tokens: int,
    settings: DashboardSettings = DEFAULTS,
    shard: Shard = WHOLE,
    begun: Scan | None = None,
    keep: tuple[Path, str] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Progress | Checkpoint | Scan]:
    """Run a scan (see `scan.scan`) with its progress; the last record is the complete `Scan`,
    unless it was stopped.

    With `keep`, a folder and what the scan is made from, it is put down there now and then and at
    the end. Each checkpoint is removed once the next record is asked for.
    """
    last, gap = time.monotonic(), CHECKPOINT_SECONDS
    for state in scan(language, targets, sequences, tokens, settings, shard, begun, should_stop):
        share = state.tokens if state.complete else max(-(-tokens // shard.of), state.tokens)
        yield Progress(state.tokens, share, "tokens", "Reading the corpus")
        if should_stop():
            return
        if keep and (state.complete or time.monotonic() - last > gap):
            started = time.monotonic()
            place = scan_checkpoint.save(state, keep[0] / str(state.tokens), keep[1])
            yield Checkpoint(state.tokens, str(place))
            shutil.rmtree(place)
            last = time.monotonic()
            gap = max(CHECKPOINT_SECONDS, (last - started) / CHECKPOINT_SHARE)
        if state.complete:
            yield state


def about(target: Target, tally: Tally, tokens: int) -> Iterator[LogLine]:
    """What is to be said of a scan of `tokens` tokens. `InvalidInput("corpus")` where there is
    nothing to show.
    """
    if not tally.tokens:
        raise InvalidInput(
            "corpus", "The corpus has no token that is not special, so there is nothing to show."
        )
    if isinstance(target.sae, AbsTopKSAE):
        yield LogLine(
            "Features of this SAE fire in both directions; only their positive activations are "
            "shown."
        )
    yield LogLine(_summary(tally, tokens))
    if not tally.cofiring.counted:
        yield LogLine(
            f"What features fire together is counted in SAEs of up to {WIDEST:,} features; this "
            "is wider."
        )


def check(
    language: Language, target: Target, tokens: int, settings: DashboardSettings = DEFAULTS
) -> None:
    """Raise `InvalidInput` where the settings make no sense, or the SAE does not fit the hook."""
    sae, hook = target
    if tokens < 1:
        raise InvalidInput("tokens", "Count at least 1 token.")
    for name in ("top", "per_band", "batch_sequences", "features_per_range"):
        if getattr(settings, name) < 1:
            raise InvalidInput(name, f"{name} must be at least 1.")
    if not 1 <= settings.bands <= GRID // 2:
        raise InvalidInput("bands", f"bands must be 1 to {GRID // 2}.")
    width = resolve_hook(language.model, hook).d_in
    if sae.cfg.d_in != width:
        raise InvalidInput(
            "sae", f"The SAE reads {sae.cfg.d_in} dimensions, but {hook} of this model has {width}."
        )
    to_residual(language.model, sae.W_dec[:1], written_hook(sae, hook))


def _summary(tally: Tally, tokens: int) -> str:
    fires = tally.histograms.fires
    short = "" if tally.tokens >= tokens else f" (the corpus ended before {tokens:,})"
    dead = int((fires == 0).sum())
    rate = float(fires.sum()) / tally.tokens
    return (
        f"{tally.tokens:,} tokens read{short}: {rate:.1f} features fire per token, {dead:,} "
        f"of {len(fires):,} never fired."
    )
