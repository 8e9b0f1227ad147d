"""What features do on given contexts: which of them stay silent is read from the model, never
guessed from what was kept.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence

import torch

from features.records import SequenceRecord
from workers.pipeline.dashboards.corpus_pass import Target, batches, encode_batch
from workers.pipeline.model.activations import activations_at
from workers.pipeline.model.language import Language

ROWS = 16
Fired = dict[int, dict[int, float]]
"""By feature, by position: the activation."""


def read(
    language: Language, target: Target, contexts: Sequence[Sequence[int]], features: Collection[int]
) -> list[Fired]:
    """Where each of `features` fires in each context of token ids, special tokens left out as in
    dashboards.
    """
    found: list[Fired] = [defaultdict(dict) for _ in contexts]
    wanted = torch.tensor(sorted(features))
    records = [SequenceRecord(place, "", list(ids)) for place, ids in enumerate(contexts)]
    every = sum(map(len, contexts))
    fed = list(batches(records, ROWS, language.special_ids.cpu(), every))
    device = target.sae.W_dec.device
    for batch, read_ in zip(
        fed, activations_at(language, [target.hook], (b.token_ids for b in fed)), strict=True
    ):
        fired = encode_batch(language, target, read_[target.hook].to(device), batch.to(device))
        kept = torch.isin(fired.feature.cpu(), wanted)
        columns = (column.cpu()[kept].tolist() for column in fired)
        for feature, row, position, value in zip(*columns, strict=True):
            found[batch.sequences[row].position][feature][position] = value
    return found
