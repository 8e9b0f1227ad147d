"""The stream of activations that SAEs train on: collected block by block, shuffled within a block
and served in batches.

    block       the activations of as many consecutive contexts as hold BLOCK_BATCHES batches
    filter      drop the tokens that do not count (`model.counted_tokens`)
    shuffle     permute the block, seeded by (seed, epoch, first context of the block)
    serve       split it into batches of about `batch_tokens`; then continue with the next block

The shuffle depends only on the seed and the position, so a run that resumes at a `StreamPosition`
is served exactly the batches that it would have been served without the interruption. When the
corpus ends, the next epoch begins.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from features.records import CountingRule, InvalidInput, LeftOut, SequenceRecord
from workers.pipeline.data.tokens import token_batches
from workers.pipeline.model.activations import activations_at
from workers.pipeline.model.counted_tokens import count_left_out, counted_tokens
from workers.pipeline.model.language import Language

CONTEXTS_AT_ONCE = 32
BLOCK_BATCHES = 16
"""Batches per block, which are shuffled together: 32,768 tokens with the default batch."""


class StreamPosition(NamedTuple):
    """A position in the stream: epoch, contexts of that epoch before the block, and batches of the
    block that were served.
    """

    epoch: int = 0
    contexts: int = 0
    batches: int = 0


START = StreamPosition()


class Interrupted(Exception):
    """`should_stop()` returned true while a block was collected. No batch of it was served."""


class ActivationStream:
    """Batches of activations at one or more hooks, collected in one forward pass per context.

    What an SAE is served depends on its hook and seed only, not on the other hooks of the stream:

        stream.advance()
        x = stream.batch(hook, seed)  # float32 [batch, d_in] on the model's device, or None

    `batch` returns None when the hook has no batch left in the current block: outliers differ
    between hooks, so their number of batches per block may differ by one. `rules` say by hook which
    tokens count. `sequences` returns a fresh iterator over the contexts of the corpus.
    `should_stop` is called while a block is collected, which can take minutes; if it returns true,
    `Interrupted` is raised.

    `left_out` counts, by hook, the tokens that did not count in the blocks before the current one.
    """

    def __init__(
        self,
        language: Language,
        rules: Mapping[str, CountingRule],
        sequences: Callable[[], Iterator[SequenceRecord]],
        batch_tokens: int,
        position: StreamPosition = START,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.language, self.rules, self.sequences = language, dict(rules), sequences
        self.hooks = list(self.rules)
        self.left_out = dict.fromkeys(self.hooks, LeftOut())
        self._block_left_out = dict.fromkeys(self.hooks, LeftOut())
        self.batch_tokens, self.position, self.should_stop = batch_tokens, position, should_stop
        self._contexts: Iterator[SequenceRecord] = islice(sequences(), position.contexts, None)
        self._activations: dict[str, Float[Tensor, "tokens d_in"]] = {}
        self._permutations: dict[tuple[str, int], Int64[Tensor, " tokens"]] = {}
        self._block_contexts = 0

    def advance(self) -> None:
        """Move to the next batch of every hook, and to the next block after the last batch."""
        self._ensure_block()
        if self.position.batches >= max(map(self._batch_count, self.hooks)):
            first_context = self.position.contexts + self._block_contexts
            self.position = StreamPosition(self.position.epoch, first_context)
            self.left_out = self.left_out_so_far()
            self._collect_block()
        self.position = self.position._replace(batches=self.position.batches + 1)

    def batch(self, hook: str, seed: int) -> Float[Tensor, "batch d_in"] | None:
        """The current batch of activations at `hook`, shuffled by `seed`; None after the last."""
        count, current = self._batch_count(hook), self.position.batches - 1
        if current >= count:
            return None
        rows = self._permutation(hook, seed).tensor_split(count)[current]
        return self._activations[hook][rows]

    def block(self, hook: str, seed: int) -> Float[Tensor, "tokens d_in"]:
        """All activations of the current block at `hook`, shuffled by `seed`."""
        self._ensure_block()
        return self._activations[hook][self._permutation(hook, seed)]

    def left_out_so_far(self) -> dict[str, LeftOut]:
        """By hook, the tokens that did not count, those of the current block included."""
        return {hook: self.left_out[hook].plus(self._block_left_out[hook]) for hook in self.hooks}

    def _ensure_block(self) -> None:
        if not self._activations:
            self._collect_block()

    def _batch_count(self, hook: str) -> int:
        """Equal parts of about `batch_tokens`, so that no token is left over."""
        return max(1, round(len(self._activations[hook]) / self.batch_tokens))

    def _permutation(self, hook: str, seed: int) -> Int64[Tensor, " tokens"]:
        if (hook, seed) not in self._permutations:
            activations = self._activations[hook]
            generator = torch.Generator().manual_seed(_shuffle_seed(seed, self.position))
            permutation = torch.randperm(len(activations), generator=generator)
            self._permutations[hook, seed] = permutation.to(activations.device)
        return self._permutations[hook, seed]

    def _collect_block(self) -> None:
        """Collect the block at `position` from the next contexts of the corpus."""
        contexts = self._next_contexts()
        if not contexts:
            if not self.position.contexts:
                raise InvalidInput("corpus", "The corpus has no context to train on.")
            self.position = StreamPosition(self.position.epoch + 1)
            self._contexts = self.sequences()
            contexts = self._next_contexts()
        self._activations = self._collect_activations(contexts)
        self._permutations, self._block_contexts = {}, len(contexts)
        if not all(len(activations) for activations in self._activations.values()):
            message = f"{len(contexts)} contexts of the corpus have no token that counts."
            raise InvalidInput("corpus", message)

    def _collect_activations(
        self, contexts: list[SequenceRecord]
    ) -> dict[str, Float[Tensor, "tokens d_in"]]:
        special = self.language.special_ids
        parts: dict[str, list[Tensor]] = {hook: [] for hook in self.hooks}
        self._block_left_out = dict.fromkeys(self.hooks, LeftOut())
        lengths = torch.tensor([len(context.token_ids) for context in contexts])
        batches = token_batches(contexts, CONTEXTS_AT_ONCE, special)
        for batch, sizes in zip(batches, lengths.split(CONTEXTS_AT_ONCE), strict=True):
            if self.should_stop():
                raise Interrupted
            real = torch.arange(batch.shape[1]) < sizes[:, None]
            ids = batch.to(self.language.device)
            (activations,) = activations_at(self.language, self.hooks, [ids])
            for hook, x in activations.items():
                rule = self.rules[hook]
                counted = counted_tokens(ids, x, special, rule)
                parts[hook].append(x[counted])
                left_out = count_left_out(batch, counted.cpu(), special, rule, real)
                self._block_left_out[hook] = self._block_left_out[hook].plus(left_out)
        return {hook: torch.cat(tensors) for hook, tensors in parts.items()}

    def _next_contexts(self) -> list[SequenceRecord]:
        """The next contexts that together hold a block's tokens, or what is left of the epoch."""
        contexts, missing = [], BLOCK_BATCHES * self.batch_tokens
        while missing > 0 and (context := next(self._contexts, None)) is not None:
            contexts.append(context)
            missing -= len(context.token_ids)
        return contexts


def _shuffle_seed(seed: int, position: StreamPosition) -> int:
    """A 64-bit seed for the block at `position`, the same on every machine and Python version."""
    key = f"{seed} {position.epoch} {position.contexts}"
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8])
