"""Reading a corpus once, whole or a shard of it, for any number of SAEs of one model at any of its
hooks.

Contexts are grouped into batches by their place in the corpus. A shard runs the model on every n-th
batch and only counts the tokens of the others, so each batch is computed exactly as in a pass that
is not sharded, tallies merge to the same bits, and together the shards count exactly the tokens
that were asked for. Tokenizing is what every shard does for all of it.

A scan can be put down between two batches (`tally_file`) and taken up again: it goes on with the
batch that is next.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import torch
from sae_lens import SAE
from torch import Tensor

from features.records import SequenceRecord
from workers.pipeline.dashboards.accumulator import Batch, DashboardSettings, Firings, Tally
from workers.pipeline.dashboards.encode import firings
from workers.pipeline.memory import release_free_memory
from workers.pipeline.model.activations import activations_at
from workers.pipeline.model.language import Language
from workers.pipeline.sae.io import uses_centred_activations


class Target(NamedTuple):
    """An SAE, and the hook of the model that it reads."""

    sae: SAE
    hook: str


class Shard(NamedTuple):
    """Every `of`-th batch of a corpus, from the one at `number` on; batches and shards count from
    0.
    """

    number: int = 0
    of: int = 1

    def has(self, batch: int) -> bool:
        """Whether the batch at that place of the corpus is in this shard."""
        return batch % self.of == self.number


WHOLE = Shard()


class Scan(NamedTuple):
    """How far a scan is: a tally for each target, how many `batches` of the corpus went by, and
    whether it was all.
    """

    tallies: list[Tally]
    batches: int = 0
    complete: bool = False

    @property
    def tokens(self) -> int:
        """How many tokens this shard counted."""
        return self.tallies[0].tokens


GIVE_BACK_EVERY = 32
"""Batches between two times that freed memory is given back: often enough that it stays flat, too
seldom to cost time.
"""


def begin(targets: Sequence[Target], settings: DashboardSettings) -> Scan:
    """A scan of which nothing is done."""
    return Scan([Tally(sae.cfg.d_sae, settings, sae.W_dec.device) for sae, _ in targets])


def scan(
    language: Language,
    targets: Sequence[Target],
    sequences: Iterable[SequenceRecord],
    tokens: int,
    settings: DashboardSettings,
    shard: Shard = WHOLE,
    begun: Scan | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Scan]:
    """Run what is left of a shard of the first `tokens` tokens that are not special; yield after
    each batch, and at the end.

    The tallies of `begun`, which must be of the same targets, tokens, settings and shard, go on
    growing in place. One forward pass serves all targets. Where `should_stop` turns true the
    generator ends without a scan that is complete.
    """
    done = begun or begin(targets, settings)
    waiting: deque[tuple[int, Batch]] = deque()
    seen = done.batches

    def feed() -> Iterator[Tensor]:
        nonlocal seen
        grouped = batches(sequences, settings.batch_sequences, language.special_ids.cpu(), tokens)
        for place, batch in enumerate(grouped):
            if should_stop():
                return
            seen = max(seen, place + 1)
            if place >= done.batches and shard.has(place):
                if language.device.type == "cuda":
                    batch = batch.pinned()
                waiting.append((place, batch))
                yield batch.token_ids

    if not done.complete:
        for activations in activations_at(language, [target.hook for target in targets], feed()):
            place, batch = waiting.popleft()
            for target, tally in zip(targets, done.tallies, strict=True):
                _add(language, target, tally, activations[target.hook], batch)
            yield Scan(done.tallies, place + 1)
            if place % GIVE_BACK_EVERY == 0:
                release_free_memory()
    if not should_stop():
        release_free_memory()  # the finish takes room of its own
        yield Scan(done.tallies, seen, complete=True)


def batches(
    sequences: Iterable[SequenceRecord], size: int, special_ids: Tensor, tokens: int
) -> Iterator[Batch]:
    """Group sequences until exactly `tokens` are counted, so that the size of a group does not
    matter.

    Shorter sequences are padded on the right, which a causal model does not see.
    """
    stream = iter(sequences)
    while tokens > 0 and (group := list(islice(stream, size))):
        lengths = torch.tensor([len(record.token_ids) for record in group])
        real = torch.arange(int(lengths.max())) < lengths[:, None]
        token_ids = torch.zeros(real.shape, dtype=torch.int64)
        token_ids[real] = torch.tensor(
            [token_id for record in group for token_id in record.token_ids]
        )
        counted = real & ~torch.isin(token_ids, special_ids)
        counted &= counted.flatten().cumsum(0).view(counted.shape) <= tokens
        wanted = (
            len(group) if int(counted.sum()) < tokens else int(counted.any(1).nonzero()[-1]) + 1
        )
        tokens -= int(counted.sum())
        yield Batch(group[:wanted], token_ids[:wanted], real[:wanted], counted[:wanted])


def encode(language: Language, target: Target, activations: Tensor, batch: Batch) -> Firings:
    """The firings of an SAE on a batch, given the activations at its hook; both on the SAE's
    device.
    """
    sae, hook = target
    read = activations
    if uses_centred_activations(sae, language.model, hook):
        read = read - read.mean(-1, keepdim=True)
    return firings(sae, read, batch)


def _add(
    language: Language, target: Target, tally: Tally, activations: Tensor, batch: Batch
) -> None:
    device = target.sae.W_dec.device
    batch = batch.to(device)
    tally.add(batch, encode(language, target, activations.to(device), batch))
