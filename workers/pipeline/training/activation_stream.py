"""The stream of activations that SAEs train on: harvested block by block, shuffled inside the
block, served in batches.

A block is consecutive contexts that hold about `BLOCK_BATCHES` batches of tokens, and its shuffle
is seeded by its place, so the whole stream follows from `Place` (which block, how many batches of
it were served): a run that resumes sees exactly the batches it would have seen. Special tokens are
left out by id, and sink tokens by their norm (over `SINK` times the median: attention sinks that
would dominate every average). A corpus that ends begins again.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from features.records import SequenceRecord
from workers.pipeline.data.tokens import in_batches
from workers.pipeline.errors import BadInput
from workers.pipeline.model.activations import harvest
from workers.pipeline.model.language import Language

SINK = 10.0
CONTEXTS_AT_ONCE = 32
BLOCK_BATCHES = 16
"""Batches per block, which are mixed with each other: 32,768 tokens with the default batch."""


class Place(NamedTuple):
    """Where a stream stands: `contexts` of pass `epoch` lie before the block, of which `served`
    batches are used up.
    """

    epoch: int = 0
    contexts: int = 0
    served: int = 0


START = Place()


def counted(
    ids: Int64[Tensor, "batch pos"],
    activations: Float[Tensor, "batch pos d_in"],
    special: Int64[Tensor, " special"],
) -> Bool[Tensor, "batch pos"]:
    """Which positions count: no special token, and no norm over `SINK` times the median of those
    that are not special.
    """
    ordinary = ~torch.isin(ids, special)
    norms = activations.norm(dim=-1)
    return ordinary & (norms <= SINK * norms[ordinary].median()) if ordinary.any() else ordinary


class Interrupted(Exception):
    """Told to stop while a block was read: nothing of it was served."""


class ActivationStream:
    """Rounds of batches, the same for every SAE that reads a hook with a seed, alone or beside
    others.

        stream.advance() x = stream.batch(hook, seed)        # float32 [batch, d_in] on the model's
        device; None where its block has ended

    All hooks are read in one forward pass. Their batches are about `batch_tokens` long: a block is
    cut into equal parts, so that none is left over. Sinks differ between hooks, and so may, by one,
    their batches in a block. `place` says where the stream stands; `should_stop` is asked while a
    block is read, which may take long: `Interrupted`.
    """

    def __init__(
        self,
        language: Language,
        hooks: Sequence[str],
        sequences: Callable[[], Iterator[SequenceRecord]],
        batch_tokens: int,
        place: Place = START,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.language, self.hooks, self.sequences = language, list(dict.fromkeys(hooks)), sequences
        self.batch_tokens, self.place, self.should_stop = batch_tokens, place, should_stop
        self._contexts: Iterator[SequenceRecord] = islice(sequences(), place.contexts, None)
        self._tokens: dict[str, Tensor] = {}
        self._orders: dict[tuple[str, int], Int64[Tensor, " tokens"]] = {}
        self._size = 0

    def advance(self) -> None:
        """Go to the next round, in the next block where this one has ended."""
        self._need()
        if self.place.served >= max(map(self._rounds, self.hooks)):
            self.place = Place(self.place.epoch, self.place.contexts + self._size, 0)
            self._load()
        self.place = self.place._replace(served=self.place.served + 1)

    def batch(self, hook: str, seed: int) -> Float[Tensor, "batch d_in"] | None:
        """This round's batch of what `hook` reads, in the order of `seed`."""
        rounds, now = self._rounds(hook), self.place.served - 1
        if now >= rounds:
            return None
        return self._tokens[hook][self._order(hook, seed).tensor_split(rounds)[now]]

    def block(self, hook: str, seed: int) -> Float[Tensor, "tokens d_in"]:
        """All activations of this round's block, in the order of `seed`."""
        self._need()
        return self._tokens[hook][self._order(hook, seed)]

    def _need(self) -> None:
        if not self._tokens:
            self._load()

    def _rounds(self, hook: str) -> int:
        return max(1, round(len(self._tokens[hook]) / self.batch_tokens))

    def _order(self, hook: str, seed: int) -> Int64[Tensor, " tokens"]:
        if (hook, seed) not in self._orders:
            chance = torch.Generator().manual_seed(
                hash((seed, self.place.epoch, self.place.contexts)) % 2**63
            )
            tokens = self._tokens[hook]
            self._orders[hook, seed] = torch.randperm(len(tokens), generator=chance).to(
                tokens.device
            )
        return self._orders[hook, seed]

    def _load(self) -> None:
        """Harvest the block that `place` says, from the next contexts of the corpus."""
        contexts = self._next_contexts()
        if not contexts:
            if not self.place.contexts:
                raise BadInput("corpus", "The corpus holds not a single context to train on.")
            self.place = Place(self.place.epoch + 1)
            self._contexts = self.sequences()
            contexts = self._next_contexts()
        kept: dict[str, list[Tensor]] = {hook: [] for hook in self.hooks}
        for ids in in_batches(contexts, CONTEXTS_AT_ONCE, self.language.special_ids):
            if self.should_stop():
                raise Interrupted
            at = ids.to(self.language.device)
            for found in harvest(self.language, self.hooks, [at]):
                for hook, x in found.items():
                    kept[hook].append(x[counted(at, x, self.language.special_ids)])
        self._tokens = {hook: torch.cat(parts) for hook, parts in kept.items()}
        self._orders, self._size = {}, len(contexts)
        if not all(len(tokens) for tokens in self._tokens.values()):
            raise BadInput(
                "corpus", f"{len(contexts)} contexts of the corpus hold special tokens only."
            )

    def _next_contexts(self) -> list[SequenceRecord]:
        """Contexts until they hold a block's tokens, or the pass ends: short ones, of separate
        documents, are more.
        """
        contexts, left = [], BLOCK_BATCHES * self.batch_tokens
        while left > 0 and (context := next(self._contexts, None)) is not None:
            contexts.append(context)
            left -= len(context.token_ids)
        return contexts
