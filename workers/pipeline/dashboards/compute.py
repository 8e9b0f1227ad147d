"""Compute the dashboards of every feature of an SAE in one streaming pass over a corpus.

    sequences -> batches -> model activations (no further than the hook) -> SAE encoder
    -> sparse activations -> FeatureAccumulator -> records

The dense activations are computed in blocks of tokens; everything after them works on the positive
ones alone. Definitions, per feature, over the tokens that count (`model.counted_tokens`):

- density: firing tokens / tokens; mean: over firing tokens; maximum and histogram: exact. An
  activation of 0 does not count as firing.
- Tokens that do not count (special tokens, outliers such as attention sinks, and the first
  positions if so set) are left out before encoding. They are never a peak and have no activation in
  an example, but they are part of its sequence; `ExampleRecord.left_out` lists those that are not
  special.
- Contexts are counted whole, so that an example shows no token that was not counted.
- Top examples (band 0): the highest peaks, one per sequence, and one of several peaks with the same
  16 tokens to either side.
- Bands 1 (highest) to 5: the activation range [0, maximum] in nearly equal parts
  (`FeatureRecord.band_edges`, falling), each with a uniform sample of its firing tokens, at most
  one per sequence, ranked by activation.
- Co-firing: the tokens on which two features both fire, exact; partners by Jaccard index
  (`cooccurrence`, which has a widest SAE).

The result depends on the corpus, the SAE and `seed`, not on the order or size of batches. Two runs
give the same records.
"""

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from sae_lens import SAE, AbsTopKSAE

from features.records import (
    COUNT_ORDINARY,
    Checkpoint,
    CountingRule,
    FeatureRange,
    InvalidInput,
    LogLine,
    Progress,
    SequenceRecord,
)
from workers.pipeline.dashboards import checkpoint as scan_checkpoint
from workers.pipeline.dashboards.accumulator import GRID, DashboardSettings, FeatureAccumulator
from workers.pipeline.dashboards.cooccurrence import MAX_WIDTH
from workers.pipeline.dashboards.corpus_pass import WHOLE, ScanState, Shard, Target, run_scan
from workers.pipeline.dashboards.logit_lens import to_residual
from workers.pipeline.dashboards.records import feature_ranges
from workers.pipeline.model.hooks import resolve_hook
from workers.pipeline.model.language import Language
from workers.pipeline.sae.reconstruct import written_hook

DEFAULTS = DashboardSettings()
CHECKPOINT_SECONDS = 60.0
"""The least time between two checkpoints."""
CHECKPOINT_SHARE = 0.02
"""The largest share of the time that is spent on checkpoints."""


def compute_dashboards(
    language: Language,
    sae: SAE,
    hook: str,
    sequences: Iterable[SequenceRecord],
    tokens: int,
    settings: DashboardSettings = DEFAULTS,
    should_stop: Callable[[], bool] = lambda: False,
    rule: CountingRule = COUNT_ORDINARY,
) -> Iterator[Progress | LogLine | FeatureRange]:
    """Yield the dashboards of all features over the contexts that hold the first `tokens` tokens
    that count by `rule`, before outliers are subtracted.

    Fewer are counted if the corpus ends before. Progress counts tokens, then features. Ends early
    when `should_stop` returns true. Raises `InvalidInput` if the settings are invalid or the SAE
    does not fit the model.
    """
    target = Target(sae, hook, rule)
    validate_settings(language, target, tokens, settings)
    for record in scan_with_progress(
        language, [target], sequences, tokens, settings, should_stop=should_stop
    ):
        if isinstance(record, Progress):
            yield record
        elif isinstance(record, ScanState):
            accumulator = record.accumulators[0]
            yield from describe_scan(target, accumulator, tokens)
            for part in feature_ranges(language, sae, written_hook(sae, hook), accumulator):
                yield part
                yield Progress(part.stop, sae.cfg.d_sae, "features", "Writing dashboards")
                if should_stop():
                    return


def scan_with_progress(
    language: Language,
    targets: Sequence[Target],
    sequences: Iterable[SequenceRecord],
    tokens: int,
    settings: DashboardSettings = DEFAULTS,
    shard: Shard = WHOLE,
    begun: ScanState | None = None,
    checkpoints: tuple[Path, str] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Progress | Checkpoint | ScanState]:
    """Run a scan (see `corpus_pass.run_scan`) and yield its progress; the last record is the
    complete `ScanState`, unless the scan was stopped.

    `checkpoints` is a folder, and a text that identifies the inputs of the scan. If given, the scan
    is saved there at intervals and at the end. Each checkpoint is removed once the next record is
    asked for.
    """
    last, interval = time.monotonic(), CHECKPOINT_SECONDS
    for state in run_scan(
        language, targets, sequences, tokens, settings, shard, begun, should_stop
    ):
        total = state.tokens if state.complete else max(-(-tokens // shard.of), state.tokens)
        yield Progress(state.tokens, total, "tokens", "Reading the corpus")
        if should_stop():
            return
        if checkpoints and (state.complete or time.monotonic() - last > interval):
            started, (folder, made_from) = time.monotonic(), checkpoints
            path = scan_checkpoint.save_checkpoint(state, folder / str(state.tokens), made_from)
            yield Checkpoint(state.tokens, str(path))
            shutil.rmtree(path)
            last = time.monotonic()
            interval = max(CHECKPOINT_SECONDS, (last - started) / CHECKPOINT_SHARE)
        if state.complete:
            yield state


def describe_scan(
    target: Target, accumulator: FeatureAccumulator, tokens: int
) -> Iterator[LogLine]:
    """Yield log lines about a complete scan of `tokens` tokens.

    Raises `InvalidInput("corpus")` if no token was counted.
    """
    if not accumulator.tokens:
        raise InvalidInput(
            "corpus", "The corpus has no token that counts, so there is nothing to show."
        )
    if isinstance(target.sae, AbsTopKSAE):
        yield LogLine(
            "Features of this SAE fire in both directions: maxima, means, histograms and the order "
            "of examples are those of absolute values."
        )
    yield LogLine(_summary(accumulator, tokens))
    if accumulator.left_out.first or accumulator.left_out.outliers:
        yield LogLine(_describe_left_out(accumulator, target.rule))
    if not accumulator.cooccurrence.counted:
        yield LogLine(
            f"What features fire together is counted in SAEs of up to {MAX_WIDTH:,} features; this "
            "is wider."
        )


def validate_settings(
    language: Language, target: Target, tokens: int, settings: DashboardSettings = DEFAULTS
) -> None:
    """Raise `InvalidInput` if a setting is out of range, or the SAE does not fit the hook."""
    sae, hook, _ = target
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


def _summary(accumulator: FeatureAccumulator, tokens: int) -> str:
    fires = accumulator.histograms.firing_counts
    reached = accumulator.tokens + accumulator.left_out.outliers >= tokens
    short = "" if reached else f" (the corpus ended before {tokens:,})"
    dead = int((fires == 0).sum())
    rate = float(fires.sum()) / accumulator.tokens
    return (
        f"{accumulator.tokens:,} tokens read{short}: {rate:.1f} features fire per token, {dead:,} "
        f"of {len(fires):,} never fired."
    )


def _describe_left_out(accumulator: FeatureAccumulator, rule: CountingRule) -> str:
    left_out = accumulator.left_out
    reasons = []
    if left_out.outliers:
        reasons.append(
            f"{left_out.outliers:,} tokens with a norm above {rule.norm_limit:,.0f}, "
            f"{rule.norm_ratio:g} times the median"
        )
    if left_out.first:
        reasons.append(f"{left_out.first:,} first tokens of contexts")
    return f"Left out: {' and '.join(reasons)}."
