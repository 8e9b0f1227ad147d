"""What interventions change in texts: next-token distributions, cross-entropy and logits.

For each text, over the positions p at which the model is steered, with z the unsteered logits, y
the steered ones, Q = softmax(z), P = softmax(y), and T the tokens that the feature promotes most:

    kl      mean of KL(P || Q), in nats
    ce      mean of log Q(token) - log P(token) of the token that follows p, in nats
    logit   mean over T of y - z, less the mean of y - z over the vocabulary, because a shift of all
            logits has no effect
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from workers.pipeline.model.language import Language
from workers.pipeline.steering.interventions import FeatureIntervention
from workers.pipeline.steering.steered_forward import Steering

LOGITS_AT_ONCE = 1 << 24
MarkedText = tuple[Sequence[int], Sequence[int]]
"""The token ids of a text, and positions in it."""


class Changes(NamedTuple):
    """What one intervention changes: a number for each text.

    `kl_by_position` has the KL at each position of each text; `logit_changes` is the mean change of
    every logit over all positions and texts, less its mean over the vocabulary.
    """

    kl: list[float]
    ce: list[float]
    logit: list[float]
    kl_by_position: list[list[float]]
    logit_changes: Float[Tensor, " vocabulary"]


def measure_changes(
    language: Language,
    texts: Sequence[MarkedText],
    variants: Sequence[Sequence[FeatureIntervention]],
    tokens: Sequence[int],
) -> list[Changes]:
    """Return the changes by each variant, which has one intervention for every text.

    Each text is steered at its positions. `tokens` are the ids whose logits `logit` is about. Texts
    and their steered copies share a batch of at most `LOGITS_AT_ONCE` logits.
    """
    vocabulary = int(language.model.config.get_text_config().vocab_size)
    longest = max(len(ids) for ids, _ in texts)
    size = max(1, LOGITS_AT_ONCE // ((1 + len(variants)) * longest * vocabulary))
    changes = [
        Changes([], [], [], [], torch.zeros(vocabulary, device=language.device)) for _ in variants
    ]
    for first in range(0, len(texts), size):
        batch = texts[first : first + size]
        interventions = [variant[first : first + size] for variant in variants]
        logits = _logits(language, batch, interventions)
        for row, text in enumerate(batch):
            for number, change in enumerate(changes, 1):
                _add_text(change, text, logits[row], logits[number * len(batch) + row], tokens)
    return [change._replace(logit_changes=change.logit_changes / len(texts)) for change in changes]


def _logits(
    language: Language,
    texts: Sequence[MarkedText],
    variants: Sequence[Sequence[FeatureIntervention]],
) -> Float[Tensor, "rows pos vocabulary"]:
    """Return the logits of the unsteered texts, then those of each variant."""
    ids, mask = _padded(language, texts)
    copies = 1 + len(variants)
    unsteered: list[list[FeatureIntervention]] = [[] for _ in texts]
    steered = [[intervention] for variant in variants for intervention in variant]
    with Steering(language, unsteered + steered).at(mask.repeat(copies, 1)):
        return language.model(input_ids=ids.repeat(copies, 1), use_cache=False).logits


def _add_text(
    changes: Changes,
    text: MarkedText,
    unsteered: Float[Tensor, "pos vocabulary"],
    steered: Float[Tensor, "pos vocabulary"],
    tokens: Sequence[int],
) -> None:
    ids, positions = text
    z, y = unsteered[list(positions)].float(), steered[list(positions)].float()
    q, p = z.log_softmax(-1), y.log_softmax(-1)
    kl = (p.exp() * (p - q)).sum(-1).clamp(min=0)
    changes.kl.append(float(kl.mean()))
    changes.kl_by_position.append(kl.tolist())
    moved = (y - z) - (y - z).mean(-1, keepdim=True)
    changes.logit.append(float(moved[:, list(tokens)].mean()))
    changes.logit_changes.add_(moved.mean(0))
    ce = [
        float(q[row, ids[position + 1]] - p[row, ids[position + 1]])
        for row, position in enumerate(positions)
        if position + 1 < len(ids)
    ]
    changes.ce.append(sum(ce) / max(len(ce), 1))


def _padded(
    language: Language, texts: Sequence[MarkedText]
) -> tuple[Int64[Tensor, "texts pos"], Bool[Tensor, "texts pos"]]:
    """Return the ids, padded on the right where a causal model does not see it, and a mask of the
    positions.
    """
    longest = max(len(ids) for ids, _ in texts)
    padded = torch.zeros(len(texts), longest, dtype=torch.int64)
    mask = torch.zeros(padded.shape, dtype=torch.bool)
    for row, (ids, positions) in enumerate(texts):
        padded[row, : len(ids)] = torch.tensor(list(ids))
        mask[row, list(positions)] = True
    return padded.to(language.device), mask.to(language.device)
