"""The stream of activations an SAE trains on: harvested block by block, shuffled inside the block, served in batches.

A block is consecutive contexts that hold about `BLOCK_BATCHES` batches of tokens, and its shuffle is seeded by its place, so
the whole stream follows from `Place` (which block, how many batches of it were served): a run that resumes sees exactly the
batches it would have seen. Special tokens are left out by id, and sink tokens by their norm (over `SINK` times the median:
attention sinks that would dominate every average). A corpus that ends begins again.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from features.records import SequenceRecord
from workers.pipeline.errors import BadInput
from workers.pipeline.harvest import harvest
from workers.pipeline.language import Language
from workers.pipeline.tokens import in_batches

SINK = 10.0
CONTEXTS_AT_ONCE = 32
BLOCK_BATCHES = 16
"""Batches per block, which are mixed with each other: 32,768 tokens with the default batch."""


class Place(NamedTuple):
    """Where a stream stands: `contexts` of pass `epoch` lie before the block, of which `served` batches are used up."""

    epoch: int = 0
    contexts: int = 0
    served: int = 0


START = Place()


def counted(
    ids: Int64[Tensor, "batch pos"], activations: Float[Tensor, "batch pos d_in"], special: Int64[Tensor, " special"]
) -> Bool[Tensor, "batch pos"]:
    """Which positions count: no special token, and no norm over `SINK` times the median of those that are not special."""
    ordinary = ~torch.isin(ids, special)
    norms = activations.norm(dim=-1)
    return ordinary & (norms <= SINK * norms[ordinary].median()) if ordinary.any() else ordinary


class ActivationStream:
    """An endless iterator of float32 [batch, d_in] on the model's device; `place` says where it stands."""

    def __init__(
        self,
        language: Language,
        hook: str,
        sequences: Callable[[], Iterator[SequenceRecord]],
        batch_tokens: int,
        seed: int = 0,
        place: Place = START,
    ) -> None:
        self.language, self.hook, self.sequences, self.seed = language, hook, sequences, seed
        self.batch_tokens = batch_tokens
        self.place = place
        self._contexts: Iterator[SequenceRecord] = islice(sequences(), place.contexts, None)
        self._batches: list[Tensor] = []
        self._size = 0

    def __iter__(self) -> Iterator[Tensor]:
        return self

    def __next__(self) -> Float[Tensor, "batch d_in"]:
        """The next batch of about `batch_tokens` tokens (a block is cut into equal parts, so that none is left over)."""
        if not self._batches:
            self._load()
        if self.place.served >= len(self._batches):
            self.place = Place(self.place.epoch, self.place.contexts + self._size, 0)
            self._load()
        batch = self._batches[self.place.served]
        self.place = self.place._replace(served=self.place.served + 1)
        return batch

    def block(self) -> Float[Tensor, "tokens d_in"]:
        """All activations of the block that the next batch comes from."""
        if not self._batches:
            self._load()
        return torch.cat(self._batches)

    def _load(self) -> None:
        """Harvest and shuffle the block that `place` says, from the next contexts of the corpus."""
        contexts = self._next_contexts()
        if not contexts:
            if not self.place.contexts:
                raise BadInput("corpus", "The corpus holds not a single context to train on.")
            self.place = Place(self.place.epoch + 1)
            self._contexts = self.sequences()
            contexts = self._next_contexts()
        kept = []
        for ids in in_batches(contexts, CONTEXTS_AT_ONCE, self.language.special_ids):
            at = ids.to(self.language.device)
            for found in harvest(self.language, [self.hook], [at]):
                kept.append(found[self.hook][counted(at, found[self.hook], self.language.special_ids)])
        tokens = torch.cat(kept)
        if not len(tokens):
            raise BadInput("corpus", f"{len(contexts)} contexts of the corpus hold special tokens only.")
        chance = torch.Generator().manual_seed(hash((self.seed, self.place.epoch, self.place.contexts)) % 2**63)
        order = torch.randperm(len(tokens), generator=chance).to(tokens.device)
        self._batches = list(tokens[order].tensor_split(max(1, round(len(tokens) / self.batch_tokens))))
        self._size = len(contexts)

    def _next_contexts(self) -> list[SequenceRecord]:
        """Contexts until they hold a block's tokens, or the pass ends: short ones, of separate documents, are more."""
        contexts, left = [], BLOCK_BATCHES * self.batch_tokens
        while left > 0 and (context := next(self._contexts, None)) is not None:
            contexts.append(context)
            left -= len(context.token_ids)
        return contexts
