"""Dashboards of every feature of an SAE from one streaming pass over a corpus.

    sequences -> batches -> harvest (forward, no further than the hook) -> encode -> sparse firings -> Tally -> records

The SAE is encoded whole (TopK needs that), in blocks of tokens so that the dense activations stay small, and everything
after it works on the positive ones alone. Definitions, per feature, over the tokens that are not special:

- density: firings / tokens counted; mean: over firings; maximum, histogram: exact. An activation of 0 is no firing.
- special tokens are left out by id before encoding: they count nowhere, never are a peak, and carry no value in an example,
  but they are part of its sequence. Tokens of extreme norm that are not special (attention sinks) are counted as any other.
- top examples (band 0): the highest peaks, one per sequence; of several peaks with the same 16 tokens to either side, one.
- bands 1 (highest) to 5: the activation range [0, maximum] in nearly equal parts (`FeatureRecord.band_edges`, falling), each
  with an even sample of its firing tokens, at most one per sequence, ranked by activation.
- co-firing: tokens on which two features both fire, exact; partners by Jaccard index (`cofiring`, which has a widest SAE).

The pass depends on the corpus, the SAE and `seed`, not on the order or size of batches; two runs give the same records.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import torch
from sae_lens import SAE, AbsTopKSAE
from torch import Tensor

from features.records import FeatureRange, LogLine, Progress, SequenceRecord
from workers.pipeline.assembly import feature_ranges
from workers.pipeline.cofiring import WIDEST
from workers.pipeline.errors import BadInput
from workers.pipeline.firings import firings
from workers.pipeline.harvest import harvest
from workers.pipeline.hooks import resolve
from workers.pipeline.language import Language
from workers.pipeline.logits import to_residual
from workers.pipeline.saes import centred, written_hook
from workers.pipeline.tally import GRID, Batch, DashboardSettings, Tally

DEFAULTS = DashboardSettings()


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

    The pass counts exactly `tokens`, or fewer where the corpus ends before. Progress counts tokens, then features.
    Where `should_stop` turns true, the generator ends early. Raises `BadInput` for what does not fit together.
    """
    check(language, sae, hook, tokens, settings)
    if isinstance(sae, AbsTopKSAE):
        yield LogLine("Features of this SAE fire in both directions; only their positive activations are shown.")
    tally = None
    for tally in scan(language, sae, hook, sequences, tokens, settings):
        yield Progress(tally.tokens, tokens, "tokens", "Reading the corpus")
        if should_stop():
            return
    if tally is None or not tally.tokens:
        raise BadInput("corpus", "The corpus has no token that is not special, so there is nothing to show.")
    yield LogLine(_summary(tally, tokens))
    if not tally.cofiring.counted:
        yield LogLine(f"What features fire together is counted in SAEs of up to {WIDEST:,} features; this is wider.")
    for part in feature_ranges(language, sae, written_hook(sae, hook), tally):
        yield part
        yield Progress(part.stop, sae.cfg.d_sae, "features", "Writing dashboards")
        if should_stop():
            return


def check(language: Language, sae: SAE, hook: str, tokens: int, settings: DashboardSettings) -> None:
    """Raise `BadInput` where the settings make no sense, or the SAE does not fit the hook."""
    if tokens < 1:
        raise BadInput("tokens", "Count at least 1 token.")
    for name in ("top", "per_band", "batch_sequences", "features_per_range"):
        if getattr(settings, name) < 1:
            raise BadInput(name, f"{name} must be at least 1.")
    if not 1 <= settings.bands <= GRID // 2:
        raise BadInput("bands", f"bands must be 1 to {GRID // 2}.")
    width = resolve(language.model, hook).d_in
    if sae.cfg.d_in != width:
        raise BadInput("sae", f"The SAE reads {sae.cfg.d_in} dimensions, but {hook} of this model has {width}.")
    to_residual(language.model, sae.W_dec[:1], written_hook(sae, hook))


def scan(
    language: Language,
    sae: SAE,
    hook: str,
    sequences: Iterable[SequenceRecord],
    tokens: int,
    settings: DashboardSettings,
) -> Iterator[Tally]:
    """Stream a corpus, or one shard of it, through model and SAE; yield the growing tally after each batch."""
    tally = Tally(sae.cfg.d_sae, settings, sae.W_dec.device)
    waiting: deque[Batch] = deque()

    def feed() -> Iterator[Tensor]:
        for batch in batches(sequences, settings.batch_sequences, language.special_ids.cpu(), tokens):
            waiting.append(batch)
            yield batch.token_ids

    without_mean = centred(sae, language.model, hook)
    for activations in harvest(language, [hook], feed()):
        batch, read = waiting.popleft().to(sae.W_dec.device), activations[hook].to(sae.W_dec.device)
        if without_mean:
            read = read - read.mean(-1, keepdim=True)
        tally.add(batch, firings(sae, read, batch))
        yield tally


def batches(sequences: Iterable[SequenceRecord], size: int, special_ids: Tensor, tokens: int) -> Iterator[Batch]:
    """Group sequences until exactly `tokens` are counted, so that the size of a group does not matter.

    Shorter sequences are padded on the right, which a causal model does not see.
    """
    stream = iter(sequences)
    while tokens > 0 and (group := list(islice(stream, size))):
        lengths = torch.tensor([len(record.token_ids) for record in group])
        real = torch.arange(int(lengths.max())) < lengths[:, None]
        token_ids = torch.zeros(real.shape, dtype=torch.int64)
        token_ids[real] = torch.tensor([token_id for record in group for token_id in record.token_ids])
        counted = real & ~torch.isin(token_ids, special_ids)
        counted &= counted.flatten().cumsum(0).view(counted.shape) <= tokens
        wanted = len(group) if int(counted.sum()) < tokens else int(counted.any(1).nonzero()[-1]) + 1
        tokens -= int(counted.sum())
        yield Batch(group[:wanted], token_ids[:wanted], real[:wanted], counted[:wanted])


def _summary(tally: Tally, tokens: int) -> str:
    fires = tally.histograms.fires
    short = "" if tally.tokens >= tokens else f" (the corpus ended before {tokens:,})"
    dead = int((fires == 0).sum())
    rate = float(fires.sum()) / tally.tokens
    return f"{tally.tokens:,} tokens read{short}: {rate:.1f} features fire per token, {dead:,} of {len(fires):,} never fired."
