"""The concept labeller: for each feature, the rule over concepts that predicts best where it fires
strongly, with its score on held-out documents.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from features.records import LabelRecord, LogLine, Progress, ScoreRecord
from workers.pipeline.labelling.evidence import Evidence
from workers.pipeline.labelling.prediction_scores import PredictionScores, ScoredTokens
from workers.pipeline.labelling.rule_search import RuleSearch
from workers.pipeline.labelling.rule_text import describe, rule_as_data, token_text
from workers.pipeline.labelling.rules import Rule, TokenIndex

MAX_LABEL_LENGTH = 400
"""Characters of a label."""
GOOD_F1 = 0.5


class RuleScorer:
    """Scores rules on the held-out tokens of the evidence."""

    def __init__(self, index: TokenIndex, seed: int) -> None:
        evidence = index.evidence
        self._index = index
        self._tokens = ScoredTokens(np.flatnonzero(evidence.held), evidence.context, seed)
        self.contexts = self._tokens.contexts

    def measure(self, rule: Rule, feature: int) -> PredictionScores:
        """Return how well a rule predicts where a feature fires strongly."""
        rows, levels = self._index.rule_levels(rule)
        return self._tokens.measure(rows, levels, self._index.evidence.strong_rows(feature))


def label_concepts(
    evidence: Evidence,
    features: Sequence[int],
    vocabulary: Sequence[bytes],
    *,
    minimum: float = 0.2,
    seed: int = 0,
    about: dict[str, object] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Progress | LogLine | LabelRecord]:
    """Yield progress, and the label of each of `features` whose rule has an F1 of `minimum` or more
    on training tokens, with its held-out score.

    Labels are selected on training tokens alone, so the held-out scores are unbiased. `about` is
    added to the provenance. Ends early when `should_stop` returns true.
    """
    yield Progress(0, len(features), "features", "Counting what concepts hold where")
    index = TokenIndex(evidence)
    search, scorer = RuleSearch(index), RuleScorer(index, seed)
    labels = good = without_rule = 0
    for number, feature in enumerate(features, 1):
        if should_stop():
            return
        rule, train_f1 = search.best_rule(feature)
        without_rule += not rule
        if rule and train_f1 >= minimum:
            scores = scorer.measure(rule, feature)
            labels, good = labels + 1, good + (scores.f1 >= GOOD_F1)
            provenance = _provenance(rule, train_f1, evidence, vocabulary)
            yield LabelRecord(
                feature,
                _label_text(rule, evidence, vocabulary),
                {**(about or {}), **provenance},
                [concept_score(scores, scorer.contexts)],
            )
        yield Progress(number, len(features), "features", "Searching rules over concepts")
    yield LogLine(
        f"Concepts: {labels:,} of {len(features):,} live features have a label, {good:,} with a "
        "held-out F1 of 0.5 or more; "
        f"{without_rule:,} fire too seldom on the training documents to learn one."
    )


def concept_score(scores: PredictionScores, contexts: int) -> ScoreRecord:
    """Return the score of kind `concept`: F1, with the other numbers as details. `contexts` is the
    number of held-out contexts.
    """
    details: dict[str, object] = {
        "precision": round(scores.precision, 4),
        "recall": round(scores.recall, 4),
        "predicted": scores.predicted,
        "fires": scores.true,
        "right": scores.right,
        "intervals": scores.rounded_intervals(),
    }
    low, high = scores.intervals["f1"]
    return ScoreRecord(
        "concept",
        scores.f1,
        low,
        high,
        contexts,
        scores.balanced_accuracy,
        scores.auroc,
        details,
        f1=scores.f1,
    )


def _provenance(
    rule: Rule, train_f1: float, evidence: Evidence, vocabulary: Sequence[bytes]
) -> dict[str, object]:
    return {
        "rule": rule_as_data(rule, evidence.names),
        "words": _describe(rule, evidence, vocabulary, max_tokens=1000),
        "train_f1": round(train_f1, 4),
    }


def _label_text(rule: Rule, evidence: Evidence, vocabulary: Sequence[bytes]) -> str:
    """Return the rule in words, with as many tokens named as fit into a label."""
    for max_tokens in (6, 4, 2, 1):
        text = _describe(rule, evidence, vocabulary, max_tokens)
        if len(text) <= MAX_LABEL_LENGTH:
            break
    return text[:MAX_LABEL_LENGTH]


def _describe(rule: Rule, evidence: Evidence, vocabulary: Sequence[bytes], max_tokens: int) -> str:
    return describe(rule, evidence.words, lambda token: token_text(vocabulary[token]), max_tokens)
