"""Collect the evidence for labels in one pass over a corpus, for all features of an SAE.

Of the corpus, every n-th context is used, so that the same number of tokens comes from more
documents.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import torch
from jaxtyping import Float32
from torch import Tensor

from features.records import LogLine, Progress, SequenceRecord
from workers.pipeline.concepts.token_concepts import TokenConcepts
from workers.pipeline.dashboards.batch import Batch, SparseActivations
from workers.pipeline.dashboards.corpus_pass import Target, batches, encode_batch
from workers.pipeline.labelling.document_split import DocumentSplit
from workers.pipeline.labelling.evidence import Evidence, EvidenceBuilder
from workers.pipeline.model.activations import activations_at
from workers.pipeline.model.language import Language

CONTEXTS_PER_BATCH = 32
MIN_CONTEXTS = 8
"""Contexts that training and scoring each need."""


class EvidenceSettings(NamedTuple):
    """How much of the corpus is used: `tokens`, of every `every`-th context, a share of `held_out`
    for scoring. A feature fires strongly above the share `strong` of its maximum.
    """

    tokens: int = 600_000
    every: int = 4
    strong: float = 0.3
    held_out: float = 1 / 3
    seed: int = 0


def collect_evidence(
    language: Language,
    target: Target,
    sequences: Iterable[SequenceRecord],
    concepts: TokenConcepts,
    maxima: Float32[Tensor, " features"],
    settings: EvidenceSettings,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Progress | LogLine | Evidence]:
    """Use `settings.tokens` tokens that count; yield progress and, last, the evidence.

    `maxima` are the largest activations; features of maximum 0 are left out. The documents of
    `sequences` must be added to `concepts` before their contexts come. There is no evidence if the
    pass was stopped, or if training or scoring has too few contexts, which a log line says.
    """
    thresholds = torch.where(maxima > 0, maxima * settings.strong, torch.inf)
    thresholds = thresholds.to(target.sae.W_dec.device)
    split = DocumentSplit(settings.held_out, settings.seed)
    builder = EvidenceBuilder(concepts)
    held_out: list[bool] = []
    pending: deque[Batch] = deque()

    def selected_sequences() -> Iterator[SequenceRecord]:
        for record in sequences:
            if record.position % settings.every == 0:
                side = split.side_of(concepts.document_texts(record))
                if side is not None:
                    held_out.append(side)
                    yield record

    def batch_token_ids() -> Iterator[Tensor]:
        special_ids = language.special_ids.cpu()
        for batch in batches(
            selected_sequences(),
            CONTEXTS_PER_BATCH,
            special_ids,
            settings.tokens,
            target.rule.first_positions,
        ):
            if should_stop():
                return
            pending.append(batch)
            yield batch.token_ids

    with ThreadPoolExecutor(1) as executor:  # finds concepts in Python while torch runs the model
        adding: Future[None] | None = None
        for activations in activations_at(language, [target.hook], batch_token_ids()):
            batch, strong = _strong_activations(
                language, target, activations[target.hook], pending.popleft(), thresholds
            )
            if adding:
                adding.result()
            adding = executor.submit(builder.add, batch, strong)
            yield Progress(builder.tokens, settings.tokens, "tokens", "Reading the corpus")
        if adding:
            adding.result()
    if should_stop():
        return
    held_out = held_out[: builder.contexts]
    yield from _describe(builder, concepts, settings, held_out)
    if min(sum(held_out), len(held_out) - sum(held_out)) >= MIN_CONTEXTS:
        yield builder.build(len(maxima), held_out)


def _describe(
    builder: EvidenceBuilder,
    concepts: TokenConcepts,
    settings: EvidenceSettings,
    held_out: list[bool],
) -> Iterator[LogLine]:
    if builder.tokens + builder.left_out < settings.tokens:
        yield LogLine(f"The corpus ended after {builder.tokens:,} of {settings.tokens:,} tokens.")
    if concepts.unplaced:
        yield LogLine(
            f"{concepts.unplaced:,} documents have tokens that are not their text; they have no "
            "concepts."
        )
    scoring = sum(held_out)
    training = len(held_out) - scoring
    if min(training, scoring) < MIN_CONTEXTS:
        yield LogLine(
            "No labels are made: they are learned on some documents and scored on others, and "
            f"each needs {MIN_CONTEXTS} contexts. "
            f"There were {training} and {scoring}. Read more tokens, or every context."
        )


def _strong_activations(
    language: Language,
    target: Target,
    activations: Tensor,
    batch: Batch,
    thresholds: Float32[Tensor, " features"],
) -> tuple[Batch, SparseActivations]:
    """Return the batch with the tokens that count, and the activations above the thresholds of
    their features, on the CPU.
    """
    counted, columns = encode_batch(language, target, activations, batch)
    columns = columns._replace(value=columns.value.abs())
    strong = columns.value > thresholds[columns.feature]
    strong_columns = SparseActivations(*(column[strong].cpu() for column in columns))
    return counted.to(torch.device("cpu")), strong_columns
