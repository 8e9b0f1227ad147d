"""The labeller of what a feature promotes: the tokens whose logits it raises most, and the class of
tokens that covers them.

The score asks whether the claim is true in texts: does the feature fire more strongly before one of
these tokens than before others? It is the AUROC of the activation on held-out tokens, where weak
activations count as 0.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int32, Int64
from torch import Tensor

from features.records import LabelRecord, LogLine, Progress, ScoreRecord
from workers.pipeline.concepts.concept import Concept
from workers.pipeline.concepts.tokenized_document import Document
from workers.pipeline.dashboards.logit_lens import Readout
from workers.pipeline.labelling.evidence import NONE, Evidence
from workers.pipeline.labelling.prediction_scores import ScoredTokens, rank_levels
from workers.pipeline.labelling.rule_text import token_text

PROMOTED_TOKENS = 10
"""Tokens whose logits rise most, which the label is about."""
MAX_NAMED_TOKENS = 6
"""Tokens that the label names."""
MIN_COVERAGE = 0.8
"""A class must have this share of the promoted tokens,"""
MIN_LIFT = 3.0
"""and this many times its share of the vocabulary."""
TOKEN_CONCEPTS = ("character.", "word.", "number.", "english.", "list.")
"""Names of concepts that follow from a token's own text begin so."""


class TokenClasses:
    """Which concepts each token of a vocabulary has by its own text."""

    def __init__(self, concepts: Sequence[Concept], vocabulary: Sequence[bytes]) -> None:
        self.concepts = [concept for concept in concepts if concept.name.startswith(TOKEN_CONCEPTS)]
        texts = [text.decode("utf-8", "replace") for text in vocabulary]
        ends = np.cumsum([len(text) + 1 for text in texts])
        spans = [
            (int(end) - len(text) - 1, int(end) - 1) for text, end in zip(texts, ends, strict=True)
        ]
        document = Document("vocabulary", "\n".join(texts), spans)
        self.flags = np.stack([concept.find(document) for concept in self.concepts], axis=1)
        self._shares = self.flags.mean(0)

    def common_class(self, tokens: Sequence[int]) -> Concept | None:
        """Return the concept that covers these tokens and is rarest in the vocabulary, or None."""
        coverage = self.flags[list(tokens)].mean(0)
        lift = coverage / np.maximum(self._shares, 1e-9)
        lift[(coverage < MIN_COVERAGE) | (lift < MIN_LIFT)] = 0
        best = int(lift.argmax())
        return self.concepts[best] if lift[best] else None


def label_promoted_tokens(
    evidence: Evidence,
    features: Sequence[int],
    readout: Readout,
    directions: Float[Tensor, "features d_model"],
    classes: TokenClasses,
    vocabulary: Sequence[bytes],
    *,
    seed: int = 0,
    about: dict[str, object] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Progress | LogLine | LabelRecord]:
    """Yield progress, and the label of each of `features`.

    `directions` are their decoder rows in the residual stream, in the same order. `about` is added
    to the provenance. Ends early when `should_stop` returns true.
    """
    rows = np.flatnonzero(evidence.held & (evidence.following != NONE))
    scored_tokens = ScoredTokens(rows, evidence.context, seed)
    rows = rows[np.argsort(evidence.following[rows], kind="stable")]
    following = evidence.following[rows]
    table = readout.table(directions, PROMOTED_TOKENS)
    count = 0
    for number, (feature, top) in enumerate(zip(features, table.top_ids.tolist(), strict=True), 1):
        if should_stop():
            return
        scores = _scores(evidence, feature, _rows_before(top, rows, following), scored_tokens)
        count += len(scores)
        common = classes.common_class(top)
        names = list(dict.fromkeys(token_text(vocabulary[token]) for token in top))
        tokens = ", ".join(names[:MAX_NAMED_TOKENS])
        yield LabelRecord(
            feature,
            f"promotes {common.words}: {tokens}" if common else f"promotes {tokens}",
            {**(about or {}), "tokens": top, "class": common.name if common else ""},
            scores,
        )
        yield Progress(number, len(features), "features", "Looking at what features promote")
    yield LogLine(
        f"Logits: {len(features):,} features have a label; {count:,} could be scored on "
        "held-out documents."
    )


def _rows_before(
    tokens: Sequence[int], rows: Int64[np.ndarray, " rows"], following: Int32[np.ndarray, " rows"]
) -> Int64[np.ndarray, " before"]:
    """Return the rows that come before one of the tokens; `rows` are sorted by `following`."""
    unique = np.unique(tokens).astype(following.dtype)
    begins = np.searchsorted(following, unique, "left")
    ends = np.searchsorted(following, unique, "right")
    parts = [rows[begin:end] for begin, end in zip(begins, ends, strict=True)]
    return np.concatenate([rows[:0], *parts])


def _scores(
    evidence: Evidence,
    feature: int,
    true_rows: Int64[np.ndarray, " true"],
    scored_tokens: ScoredTokens,
) -> list[ScoreRecord]:
    """Return the score of kind `promotes`, if a held-out token comes before a promoted one."""
    if not len(true_rows):
        return []
    rows, values = evidence.strong_rows(feature), evidence.strong_values(feature)
    scored = scored_tokens.are_scored(rows)
    scores = scored_tokens.measure(rows[scored], rank_levels(values[scored]), true_rows)
    low, high = scores.intervals["auroc"]
    details: dict[str, object] = {
        "precision": round(scores.precision, 4),
        "recall": round(scores.recall, 4),
        "base_rate": round(len(true_rows) / scored_tokens.size, 4),
        "fires": scores.predicted,
        "intervals": scores.rounded_intervals(),
    }
    return [
        ScoreRecord(
            "promotes",
            scores.auroc,
            low,
            high,
            scored_tokens.contexts,
            scores.balanced_accuracy,
            scores.auroc,
            details,
        )
    ]
