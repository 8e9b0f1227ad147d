"""The labeller of what a feature promotes: the tokens whose logits it raises most, and the one
class that covers them.

Its score asks whether the claim is true where it matters: on held-out tokens, does the feature fire
more strongly before one of these tokens than before others (AUROC of the activation, weak firings
as 0)?
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int32, Int64
from torch import Tensor

from features.records import LabelRecord, LogLine, Progress, ScoreRecord
from workers.pipeline.concepts.concept import Concept
from workers.pipeline.concepts.document import Document
from workers.pipeline.dashboards.logit_lens import Readout
from workers.pipeline.labelling.evidence import NOTHING, Evidence
from workers.pipeline.labelling.rules import token_text
from workers.pipeline.labelling.scores import Scored, ranked

TOP = 10
"""Tokens that a feature is said to promote."""
COVERS = 0.8
"""A class is named where it has this share of them,"""
LIFT = 3.0
"""and so many times the share that it has of the vocabulary."""
TOLD = 6
OF_TOKENS = ("character.", "word.", "number.", "english.", "list.")
"""Concepts that a token's own text decides."""


class Classes:
    """Which concepts each token of a vocabulary has by its own text."""

    def __init__(self, concepts: Sequence[Concept], vocabulary: Sequence[bytes]) -> None:
        self.concepts = [concept for concept in concepts if concept.name.startswith(OF_TOKENS)]
        texts = [text.decode("utf-8", "replace") for text in vocabulary]
        ends = np.cumsum([len(text) + 1 for text in texts])
        spans = [
            (int(end) - len(text) - 1, int(end) - 1) for text, end in zip(texts, ends, strict=True)
        ]
        document = Document("vocabulary", "\n".join(texts), spans)
        self.flags = np.stack([concept.find(document) for concept in self.concepts], axis=1)
        self._share = self.flags.mean(0)

    def common(self, tokens: Sequence[int]) -> Concept | None:
        """The concept that covers these tokens and is rarest elsewhere; None where none does."""
        share = self.flags[list(tokens)].mean(0)
        lift = share / np.maximum(self._share, 1e-9)
        lift[(share < COVERS) | (lift < LIFT)] = 0
        best = int(lift.argmax())
        return self.concepts[best] if lift[best] else None


def label(
    evidence: Evidence,
    features: Sequence[int],
    readout: Readout,
    directions: Float[Tensor, "features d_model"],
    classes: Classes,
    vocabulary: Sequence[bytes],
    *,
    seed: int = 0,
    about: dict[str, object] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Progress | LogLine | LabelRecord]:
    """Yield the label of each of `features`; `directions` are their decoder rows in the residual
    stream, in the same order.
    """
    rows = np.flatnonzero(evidence.held & (evidence.following != NOTHING))
    scored_on = Scored(rows, evidence.context, seed)
    rows = rows[np.argsort(evidence.following[rows], kind="stable")]
    following = evidence.following[rows]
    table = readout.table(directions, TOP)
    scored = 0
    for number, (feature, top) in enumerate(zip(features, table.top_ids.tolist(), strict=True), 1):
        if should_stop():
            return
        scores = _scores(evidence, feature, _before(top, rows, following), scored_on)
        scored += len(scores)
        found = classes.common(top)
        told = ", ".join(list(dict.fromkeys(token_text(vocabulary[token]) for token in top))[:TOLD])
        yield LabelRecord(
            feature,
            f"promotes {found.words}: {told}" if found else f"promotes {told}",
            {**(about or {}), "tokens": top, "class": found.name if found else ""},
            scores,
        )
        yield Progress(number, len(features), "features", "Looking at what features promote")
    yield LogLine(
        f"Logits: {len(features):,} features have a label; {scored:,} could be scored on "
        "held-out documents."
    )


def _before(
    tokens: Sequence[int], rows: Int64[np.ndarray, " rows"], following: Int32[np.ndarray, " rows"]
) -> Int64[np.ndarray, " before"]:
    """The rows that come before one of the tokens; they are sorted by the token that is
    `following`.
    """
    wanted = np.unique(tokens).astype(following.dtype)
    begin, end = (
        np.searchsorted(following, wanted, "left"),
        np.searchsorted(following, wanted, "right"),
    )
    return np.concatenate([rows[:0], *(rows[i:j] for i, j in zip(begin, end, strict=True))])


def _scores(
    evidence: Evidence, feature: int, true: Int64[np.ndarray, " true"], scored_on: Scored
) -> list[ScoreRecord]:
    """The score of kind `promotes`; none where no held-out token comes before one of the tokens."""
    if not len(true):
        return []
    rows, value = (
        evidence.fired(feature),
        evidence.values[evidence.begin[feature] : evidence.begin[feature + 1]],
    )
    chosen = scored_on.among(rows)
    found = scored_on.measure(rows[chosen], ranked(value[chosen]), true)
    low, high = found.intervals["auroc"]
    details: dict[str, object] = {
        "precision": round(found.precision, 4),
        "recall": round(found.recall, 4),
        "base_rate": round(len(true) / scored_on.size, 4),
        "fires": found.predicted,
        "intervals": {
            name: [round(end, 4) for end in ends] for name, ends in found.intervals.items()
        },
    }
    return [
        ScoreRecord(
            "promotes",
            found.auroc,
            low,
            high,
            scored_on.contexts,
            found.balanced_accuracy,
            found.auroc,
            details,
        )
    ]
