"""One pass over a corpus for all features of an SAE: which tokens each fires on strongly, and what
is true of these tokens.

A feature fires strongly where its activation is above a share of its maximum: the same threshold
for training and scoring. Documents are dealt to the two sides by their text, with a seed, so that
no text is on both (`Sides`). Of the corpus, every n-th context is read, so that the same number of
tokens comes from more documents.

Memory on the processor, for T tokens and C concepts: T (C / 8 + 21) bytes, and 8 bytes for each
strong firing. Nothing is tokens x features.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int32, Int64, UInt8
from torch import Tensor

from features.records import LogLine, Progress, SequenceRecord
from workers.pipeline.concepts.truth import Truth
from workers.pipeline.dashboards.batch import Batch, SparseActivations
from workers.pipeline.dashboards.corpus_pass import Target, batches, encode_batch
from workers.pipeline.model.activations import activations_at
from workers.pipeline.model.language import Language

AT_ONCE = 32
"""Contexts in a batch."""
FEWEST = 8
"""Contexts that each side needs."""
NOTHING = -1


class Settings(NamedTuple):
    """How much is read and what counts: `strong` is the share of its maximum above which a feature
    fires strongly.
    """

    tokens: int = 600_000
    every: int = 4
    strong: float = 0.3
    held_out: float = 1 / 3
    seed: int = 0


class Evidence(NamedTuple):
    """What the pass found, by token in the order of the corpus; special tokens are left out.

    `previous` and `following` are the ids of the neighbours in the context, special ones and the
    outside as -1; `before` is the row of the previous token, -1 likewise. `context` numbers the
    contexts that were read, and `document` numbers for each of them the document in which it
    begins; `held` says which tokens are held out. `flags` are the concepts of each token, eight to
    a byte. The strong firings of feature f are `rows[begin[f]:begin[f+1]]` with `values`, in order
    of tokens.
    """

    ids: Int32[np.ndarray, " tokens"]
    previous: Int32[np.ndarray, " tokens"]
    following: Int32[np.ndarray, " tokens"]
    before: Int32[np.ndarray, " tokens"]
    context: Int32[np.ndarray, " tokens"]
    document: Int32[np.ndarray, " contexts"]
    held: Bool[np.ndarray, " tokens"]
    flags: UInt8[np.ndarray, "tokens bytes"]
    begin: Int64[np.ndarray, " features+1"]
    rows: Int32[np.ndarray, " firings"]
    values: Float32[np.ndarray, " firings"]
    names: list[str]
    words: list[str]

    def fired(self, feature: int) -> Int32[np.ndarray, " firings"]:
        """The tokens on which a feature fires strongly."""
        return self.rows[self.begin[feature] : self.begin[feature + 1]]

    def unpacked(self, rows: Int32[np.ndarray, " rows"]) -> UInt8[np.ndarray, "rows concepts"]:
        """The concepts of some tokens, one to a byte."""
        return np.unpackbits(self.flags[rows], axis=1, count=len(self.names))


class Sides:
    """Deals contexts to training (False) and held out (True) so that no text is on both.

    The first text of a context that was on no side yet decides by chance, with a seed. A context
    that would bring a text to its other side is left out; what else it holds is not decided by it.
    """

    def __init__(self, share: float, seed: int) -> None:
        self._below, self._key = share * 2**64, seed.to_bytes(8, "little")
        self._side: dict[int, bool] = {}

    def of(self, texts: Iterable[str]) -> bool | None:
        """The side of a context that is cut from these texts; None where it is left out."""
        keys = [self._hash(text) for text in texts]
        found = {self._side[key] for key in keys if key in self._side}
        fresh = next((key for key in keys if key not in self._side), None)
        if fresh is not None:
            found.add(fresh < self._below)
        if len(found) != 1:
            return None
        side = found.pop()
        self._side |= dict.fromkeys(keys, side)
        return side

    def _hash(self, text: str) -> int:
        digest = hashlib.blake2b(
            text.encode("utf-8", "surrogatepass"), digest_size=8, key=self._key
        )
        return int.from_bytes(digest.digest(), "little")


def gather(
    language: Language,
    target: Target,
    sequences: Iterable[SequenceRecord],
    truth: Truth,
    maxima: Float32[Tensor, " features"],
    settings: Settings,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Progress | LogLine | Evidence]:
    """Read `settings.tokens` tokens that are not special; yield progress, and the evidence last
    unless it was stopped.

    `maxima` are the largest activations; features of maximum 0 are never looked at. `truth` must be
    told the documents of `sequences` as these are cut. Where a side has too few contexts, a line of
    the log says so, and there is no evidence.
    """
    limits = torch.where(maxima > 0, maxima * settings.strong, torch.inf).to(
        target.sae.W_dec.device
    )
    sides = Sides(settings.held_out, settings.seed)
    reading = _Reading(truth)
    waiting: deque[Batch] = deque()

    def chosen() -> Iterator[SequenceRecord]:
        for record in sequences:
            if (
                record.position % settings.every == 0
                and (side := sides.of(truth.texts(record))) is not None
            ):
                reading.held.append(side)
                yield record

    def feed() -> Iterator[Tensor]:
        for batch in batches(chosen(), AT_ONCE, language.special_ids.cpu(), settings.tokens):
            if should_stop():
                return
            waiting.append(batch)
            yield batch.token_ids

    with ThreadPoolExecutor(
        1
    ) as beside:  # what is true is Python's work, while the model is torch's
        adding: Future[None] | None = None
        for activations in activations_at(language, [target.hook], feed()):
            batch = waiting.popleft()
            found = _strong(language, target, activations[target.hook], batch, limits)
            if adding:
                adding.result()
            adding = beside.submit(reading.add, batch, found)
            yield Progress(reading.tokens, settings.tokens, "tokens", "Reading the corpus")
        if adding:
            adding.result()
    if should_stop():
        return
    if reading.tokens < settings.tokens:
        yield LogLine(f"The corpus ended after {reading.tokens:,} of {settings.tokens:,} tokens.")
    if truth.unplaced:
        yield LogLine(
            f"{truth.unplaced:,} documents have tokens that are not their text; they have no "
            "concepts."
        )
    learning, scoring = reading.sides()
    if min(learning, scoring) < FEWEST:
        yield LogLine(
            "No labels are made: they are learned on some documents and scored on others, and "
            f"each needs {FEWEST} contexts. "
            f"There were {learning} and {scoring}. Read more tokens, or every context."
        )
        return
    yield reading.evidence(len(maxima))


def _strong(
    language: Language,
    target: Target,
    activations: Tensor,
    batch: Batch,
    limits: Float32[Tensor, " features"],
) -> SparseActivations:
    """The firings of a batch above the limits of their features, on the processor."""
    device = target.sae.W_dec.device
    found = encode_batch(language, target, activations.to(device), batch.to(device))
    strong = found.value > limits[found.feature]
    return SparseActivations(*(column[strong].cpu() for column in found))


class _Reading:
    """What was read so far, as one piece of each column of `Evidence` for each batch."""

    def __init__(self, truth: Truth) -> None:
        self.held: list[bool] = []
        self.tokens = 0
        self._truth, self._contexts = truth, 0
        self._columns: dict[str, list[np.ndarray]] = {name: [] for name in COLUMNS}
        self._features: list[np.ndarray] = []
        self._documents: list[str] = []

    def add(self, batch: Batch, found: SparseActivations) -> None:
        counted, ids = batch.counted.numpy(), batch.token_ids.numpy().astype(np.int32)
        size = int(counted.sum())
        known = np.where(counted, ids, NOTHING)
        number = np.full(counted.shape, NOTHING, dtype=np.int32)
        number[counted] = np.arange(self.tokens, self.tokens + size)
        flags = np.zeros((*counted.shape, len(self._truth.names)), dtype=bool)
        for row, record in enumerate(batch.sequences):
            flags[row, : len(record.token_ids)] = self._truth.of(record)
        contexts = np.arange(self._contexts, self._contexts + len(counted), dtype=np.int32)
        for name, values in (
            ("ids", ids[counted]),
            ("previous", _shifted(known, 1)[counted]),
            ("following", _shifted(known, -1)[counted]),
            ("before", _shifted(number, 1)[counted]),
            ("context", np.broadcast_to(contexts[:, None], counted.shape)[counted]),
            ("flags", np.packbits(flags[counted], axis=1)),
            ("rows", number[found.row.numpy(), found.position.numpy()]),
            ("values", found.value.numpy()),
        ):
            self._columns[name].append(values)
        self._features.append(found.feature.numpy().astype(np.int32))
        self._documents += [record.document for record in batch.sequences]
        self.tokens += size
        self._contexts += len(counted)

    def sides(self) -> tuple[int, int]:
        """How many contexts are for training, and how many held out."""
        held = sum(self.held[: self._contexts])
        return self._contexts - held, held

    def evidence(self, features: int) -> Evidence:
        """All of it, with the firings in order of features."""
        held = np.array(self.held[: self._contexts], dtype=bool)
        columns = {name: np.concatenate(parts) for name, parts in self._columns.items()}
        feature = np.concatenate(self._features)
        order = np.argsort(feature, kind="stable")
        begin = np.searchsorted(feature[order], np.arange(features + 1))
        for name in ("rows", "values"):
            columns[name] = columns[name][order]
        _, document = np.unique(self._documents, return_inverse=True)
        return Evidence(
            **columns,
            document=document.astype(np.int32),
            held=held[columns["context"]],
            begin=begin,
            names=self._truth.names,
            words=self._truth.words,
        )


COLUMNS = ("ids", "previous", "following", "before", "context", "flags", "rows", "values")


def _shifted(values: Int32[np.ndarray, "batch pos"], by: int) -> Int32[np.ndarray, "batch pos"]:
    """What stands `by` positions before; `NOTHING` outside."""
    moved = np.full_like(values, NOTHING)
    if by > 0:
        moved[:, by:] = values[:, :-by]
    else:
        moved[:, :by] = values[:, -by:]
    return moved
