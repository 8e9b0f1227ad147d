"""Scan a corpus once, whole or a shard of it, for any number of SAEs of one model.

Contexts are grouped into batches by their position in the corpus. A shard runs the model on every
n-th batch and only counts the tokens of the others. Each batch is therefore computed exactly as in
an unsharded pass, accumulators merge to the same bits, and the shards together count exactly the
contexts that one pass counts. Every shard tokenizes the whole corpus.

Contexts are counted whole: the last one is that in which the number of tokens is reached. That
number is of ordinary tokens, which are known before the model runs; outliers differ between the
hooks of one scan and are subtracted afterwards.

A scan can be saved between two batches (`checkpoint.py`); it continues with the next batch.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import torch
from jaxtyping import Float
from sae_lens import SAE
from torch import Tensor

from features.records import COUNT_ORDINARY, CountingRule, SequenceRecord
from workers.pipeline.dashboards.accumulator import DashboardSettings, FeatureAccumulator
from workers.pipeline.dashboards.batch import Batch, SparseActivations
from workers.pipeline.dashboards.encoding import sparse_activations
from workers.pipeline.memory import release_free_memory
from workers.pipeline.model.activations import activations_at
from workers.pipeline.model.counted_tokens import ordinary_tokens, outlier_tokens
from workers.pipeline.model.language import Language
from workers.pipeline.sae.reconstruct import uses_centred_activations

BATCHES_BETWEEN_TRIMS = 32
"""Batches after which freed memory is returned to the system: often enough that memory stays flat,
and seldom enough to cost no time.
"""


class Target(NamedTuple):
    """An SAE, the hook of the model whose activations it encodes, and which tokens count there."""

    sae: SAE
    hook: str
    rule: CountingRule = COUNT_ORDINARY


class Shard(NamedTuple):
    """Every `of`-th batch of a corpus, starting with the batch `number`; both count from 0."""

    number: int = 0
    of: int = 1

    def contains(self, batch: int) -> bool:
        """Return whether the batch with this number in the corpus is in this shard."""
        return batch % self.of == self.number


WHOLE = Shard()


class ScanState(NamedTuple):
    """How far a scan is: an accumulator for each target, the number of batches of the corpus that
    are done, and whether the scan is complete.
    """

    accumulators: list[FeatureAccumulator]
    batches: int = 0
    complete: bool = False

    @property
    def tokens(self) -> int:
        """The number of tokens that this shard has counted for the first target."""
        return self.accumulators[0].tokens


def empty_scan(targets: Sequence[Target], settings: DashboardSettings) -> ScanState:
    """Return the state of a scan before its first batch."""
    return ScanState(
        [
            FeatureAccumulator(target.sae.cfg.d_sae, settings, target.sae.W_dec.device)
            for target in targets
        ]
    )


def run_scan(
    language: Language,
    targets: Sequence[Target],
    sequences: Iterable[SequenceRecord],
    tokens: int,
    settings: DashboardSettings,
    shard: Shard = WHOLE,
    begun: ScanState | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[ScanState]:
    """Scan a shard of the contexts that hold the first `tokens` ordinary tokens; yield after each
    batch, and at the end.

    One forward pass serves all targets, which leave out the same number of first positions. The
    accumulators of `begun`, which must be of the same targets, tokens, settings and shard, are
    continued in place. When `should_stop` returns true, the generator ends without a complete
    state.
    """
    state = begun or empty_scan(targets, settings)
    pending: deque[tuple[int, Batch]] = deque()
    batches_seen, first_positions = state.batches, targets[0].rule.first_positions

    def shard_token_ids() -> Iterator[Tensor]:
        nonlocal batches_seen
        grouped = batches(
            sequences,
            settings.batch_sequences,
            language.special_ids.cpu(),
            tokens,
            first_positions,
        )
        for number, batch in enumerate(grouped):
            if should_stop():
                return
            batches_seen = max(batches_seen, number + 1)
            if number >= state.batches and shard.contains(number):
                if language.device.type == "cuda":
                    batch = batch.pinned()
                pending.append((number, batch))
                yield batch.token_ids

    if not state.complete:
        hooks = [target.hook for target in targets]
        for activations in activations_at(language, hooks, shard_token_ids()):
            number, batch = pending.popleft()
            for target, accumulator in zip(targets, state.accumulators, strict=True):
                _add_batch(language, target, accumulator, activations[target.hook], batch)
            yield ScanState(state.accumulators, number + 1)
            if number % BATCHES_BETWEEN_TRIMS == 0:
                release_free_memory()
    if not should_stop():
        release_free_memory()  # computing the features takes memory of its own
        yield ScanState(state.accumulators, batches_seen, complete=True)


def batches(
    sequences: Iterable[SequenceRecord],
    size: int,
    special_ids: Tensor,
    tokens: int,
    first_positions: int = 0,
) -> Iterator[Batch]:
    """Yield batches of `size` sequences until `tokens` tokens are counted, with the last sequence
    counted whole.

    Outliers are still counted here. Shorter sequences are padded on the right, where a causal
    model does not see it. What is counted does not depend on `size`.
    """
    remaining, stream = tokens, iter(sequences)
    while remaining > 0 and (group := list(islice(stream, size))):
        lengths = torch.tensor([len(record.token_ids) for record in group])
        real = torch.arange(int(lengths.max())) < lengths[:, None]
        token_ids = torch.zeros(real.shape, dtype=torch.int64)
        token_ids[real] = torch.tensor(
            [token_id for record in group for token_id in record.token_ids]
        )
        counted = real & ordinary_tokens(token_ids, special_ids, first_positions)
        before = remaining - counted.sum(1).cumsum(0) + counted.sum(1)  # what each row finds left
        rows = int((before > 0).sum())
        remaining -= int(counted[:rows].sum())
        special = real & torch.isin(token_ids, special_ids)
        yield Batch(group[:rows], token_ids[:rows], real[:rows], special[:rows], counted[:rows])


def without_outliers(
    batch: Batch, activations: Float[Tensor, "batch pos d_in"], rule: CountingRule
) -> Batch:
    """Return the batch with the tokens counted that count at the hook of `activations`."""
    return batch._replace(counted=batch.counted & ~outlier_tokens(activations, rule))


def encode_batch(
    language: Language, target: Target, activations: Float[Tensor, "batch pos d_in"], batch: Batch
) -> tuple[Batch, SparseActivations]:
    """Return the batch with the tokens that count for the target, and the activations of its
    SAE on these that are not 0, given the model's activations at its hook; all on the SAE's device.
    """
    device = target.sae.W_dec.device
    activations = activations.to(device)
    batch = without_outliers(batch.to(device), activations, target.rule)
    if uses_centred_activations(target.sae, language.model, target.hook):
        activations = activations - activations.mean(-1, keepdim=True)
    return batch, sparse_activations(target.sae, activations, batch)


def _add_batch(
    language: Language,
    target: Target,
    accumulator: FeatureAccumulator,
    activations: Tensor,
    batch: Batch,
) -> None:
    batch, sparse = encode_batch(language, target, activations, batch)
    accumulator.add(batch, sparse, target.rule.first_positions)
