"""The concept labeller: for each feature, a short rule over concepts that predicts where it fires
strongly, with its score on held-out documents, and the exact rule behind it with its own score.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from features.records import LabelRecord, LogLine, Progress, ScoreRecord
from workers.pipeline.labelling.clause_names import ClauseNames
from workers.pipeline.labelling.evidence import Evidence
from workers.pipeline.labelling.prediction_scores import PredictionScores, ScoredTokens
from workers.pipeline.labelling.rule_search import RuleSearch
from workers.pipeline.labelling.rule_text import describe, rule_as_data, token_text
from workers.pipeline.labelling.rules import Rule, TokenIndex
from workers.pipeline.labelling.short_rules import ShortRules

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
    """Yield progress, and the label of each of `features` whose short rule has an F1 of `minimum`
    or more on training tokens, with its held-out score.

    Labels are selected on training tokens alone, so the held-out scores are unbiased. `about` is
    added to the provenance. Ends early when `should_stop` returns true.
    """
    yield Progress(0, len(features), "features", "Counting what concepts hold where")
    index = TokenIndex(evidence)
    search, scorer = RuleSearch(index), RuleScorer(index, seed)
    names = ClauseNames(evidence, lambda token: token_text(vocabulary[token]))
    short_rules = ShortRules(index, search, names)
    labels = good = without_rule = 0
    for number, feature in enumerate(features, 1):
        if should_stop():
            return
        exact, exact_f1 = search.best_rule(feature)
        without_rule += not exact
        short = short_rules.shorten(exact, feature) if exact else None
        if short and short.train_f1 >= minimum:
            scores = scorer.measure((short.clause,), feature)
            labels, good = labels + 1, good + (scores.f1 >= GOOD_F1)
            provenance = {
                **_rule_provenance((short.clause,), short.train_f1, evidence, vocabulary),
                "exact": {
                    **_rule_provenance(exact, exact_f1, evidence, vocabulary),
                    **_f1(scorer.measure(exact, feature)),
                },
            }
            yield LabelRecord(
                feature,
                short.name,
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


def _f1(scores: PredictionScores) -> dict[str, float]:
    low, high = scores.intervals["f1"]
    return {"f1": round(scores.f1, 4), "low": round(low, 4), "high": round(high, 4)}


def _rule_provenance(
    rule: Rule, train_f1: float, evidence: Evidence, vocabulary: Sequence[bytes]
) -> dict[str, object]:
    words = describe(rule, evidence.words, lambda token: token_text(vocabulary[token]))
    data = rule_as_data(rule, evidence.names)
    return {"rule": data, "words": words, "train_f1": round(train_f1, 4)}
