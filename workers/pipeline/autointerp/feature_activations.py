"""Activations of features on given contexts, computed by the model, so that contexts in which a
feature does not fire are known to be such.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence

import torch

from features.records import SequenceRecord
from workers.pipeline.dashboards.corpus_pass import Target, batches, encode_batch
from workers.pipeline.model.activations import activations_at
from workers.pipeline.model.language import Language

CONTEXTS_PER_BATCH = 16
ContextActivations = dict[int, dict[int, float]]
"""The activations of one context, by feature, then by position."""


def activations_in_contexts(
    language: Language, target: Target, contexts: Sequence[Sequence[int]], features: Collection[int]
) -> list[ContextActivations]:
    """Return the activations of `features` in each context of token ids, on the tokens that count
    for the target, as in dashboards.
    """
    results: list[ContextActivations] = [defaultdict(dict) for _ in contexts]
    selected = torch.tensor(sorted(features))
    records = [SequenceRecord(number, "", list(ids)) for number, ids in enumerate(contexts)]
    total, special_ids = sum(map(len, contexts)), language.special_ids.cpu()
    first_positions = target.rule.first_positions
    all_batches = list(batches(records, CONTEXTS_PER_BATCH, special_ids, total, first_positions))
    token_ids = (batch.token_ids for batch in all_batches)
    for batch, activations in zip(
        all_batches, activations_at(language, [target.hook], token_ids), strict=True
    ):
        _, sparse = encode_batch(language, target, activations[target.hook], batch)
        mask = torch.isin(sparse.feature.cpu(), selected)
        columns = (column.cpu()[mask].tolist() for column in sparse)
        for feature, row, position, value in zip(*columns, strict=True):
            results[batch.sequences[row].position][feature][position] = value
    return results
