"""The concept labeller: for each feature the rule that tells best where it fires strongly, and how
well on held-out documents.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from features.records import LabelRecord, LogLine, Progress, ScoreRecord
from workers.pipeline.labelling.evidence import Evidence
from workers.pipeline.labelling.rules import Index, Rule, describe, provenance, token_text
from workers.pipeline.labelling.scores import Measured, Scored
from workers.pipeline.labelling.search import Search

LONGEST = 400


class Scorer:
    """Rules against the held-out half of the evidence."""

    def __init__(self, index: Index, seed: int) -> None:
        self._index = index
        self._scored = Scored(np.flatnonzero(index.evidence.held), index.evidence.context, seed)
        self.contexts = self._scored.contexts

    def of(self, rule: Rule, feature: int) -> Measured:
        """How well a rule tells where a feature fires strongly."""
        return self._scored.measure(*self._index.levels(rule), self._index.evidence.fired(feature))


def label(
    evidence: Evidence,
    features: Sequence[int],
    vocabulary: Sequence[bytes],
    *,
    minimum: float = 0.2,
    seed: int = 0,
    about: dict[str, object] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Progress | LogLine | LabelRecord]:
    """Yield the label of each of `features` whose rule reaches an F1 of `minimum` on training
    tokens, with its held-out score.

    What is shown is chosen on training tokens alone, so held-out scores are those of all labels
    that are made. `about` goes into the provenance. Where `should_stop` turns true the generator
    ends early.
    """
    yield Progress(0, len(features), "features", "Counting what concepts hold where")
    index = Index(evidence)
    search, scorer = Search(index), Scorer(index, seed)
    made = good = silent = 0
    for number, feature in enumerate(features, 1):
        if should_stop():
            return
        rule, train = search.rule(feature)
        silent += not rule
        if rule and train >= minimum:
            found = scorer.of(rule, feature)
            made, good = made + 1, good + (found.f1 >= 0.5)
            yield LabelRecord(
                feature,
                _text(rule, evidence, vocabulary),
                {
                    **(about or {}),
                    "rule": provenance(rule, evidence.names),
                    "words": describe(
                        rule, evidence.words, lambda token: token_text(vocabulary[token]), told=1000
                    ),
                    "train_f1": round(train, 4),
                },
                [score(found, scorer.contexts)],
            )
        yield Progress(number, len(features), "features", "Searching rules over concepts")
    yield LogLine(
        f"Concepts: {made:,} of {len(features):,} live features have a label, {good:,} with a "
        "held-out F1 of 0.5 or more; "
        f"{silent:,} fire too seldom on the training documents to learn one."
    )


def score(found: Measured, contexts: int) -> ScoreRecord:
    """The score of kind `concept`: F1, with the other numbers as details; n counts held-out
    contexts.
    """
    details: dict[str, object] = {
        "precision": round(found.precision, 4),
        "recall": round(found.recall, 4),
        "predicted": found.predicted,
        "fires": found.true,
        "right": found.right,
        "intervals": {
            name: [round(end, 4) for end in ends] for name, ends in found.intervals.items()
        },
    }
    low, high = found.intervals["f1"]
    return ScoreRecord(
        "concept", found.f1, low, high, contexts, found.balanced_accuracy, found.auroc, details
    )


def _text(rule: Rule, evidence: Evidence, vocabulary: Sequence[bytes]) -> str:
    """The rule in words that a label has room for."""
    for told in (6, 4, 2, 1):
        text = describe(rule, evidence.words, lambda token: token_text(vocabulary[token]), told)
        if len(text) <= LONGEST:
            break
    return text[:LONGEST]
