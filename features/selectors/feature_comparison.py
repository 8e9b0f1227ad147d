"""Reads of several features at once, to be compared side by side."""

from collections import defaultdict
from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import NamedTuple

from django.db.models import Q

from features.models import Example, Feature
from features.selectors.feature_page_sql import StoredExample
from features.selectors.feature_view import ShownExample, TokenLogit
from features.selectors.features import example_spans, logits_of, shown_example
from features.token_spans import Vocabulary
from features.vocabulary import vocabulary_of

EXAMPLES = 4
"""Top examples of each feature."""


class Path(NamedTuple):
    """Which feature: slugs and index."""

    model: str
    sae: str
    index: int  # type: ignore[assignment]  # tuple has a method of that name, which is not called

    def __str__(self) -> str:
        return f"{self.model}/{self.sae}/{self.index}"


class ComparedFeature(NamedTuple):
    """A feature with its top examples, and what it promotes and suppresses most."""

    feature: Feature
    examples: list[ShownExample]
    top_logits: list[TokenLogit]
    bottom_logits: list[TokenLogit]


def compared_features(paths: Sequence[Path]) -> dict[Path, ComparedFeature]:
    """The features that exist, by path, in two queries and one for each of their models."""
    rows = _features(paths) if paths else []
    examples = _examples(rows) if rows else {}
    vocabularies = _vocabularies(rows, examples)
    features = {
        Path(row.sae.model.slug, row.sae.slug, row.index): _compared(
            row, examples.get(row.pk, []), vocabularies[row.sae.model_id]
        )
        for row in rows
    }
    return {path: features[path] for path in paths if path in features}


def _features(paths: Sequence[Path]) -> list[Feature]:
    conditions = (
        Q(sae__model__slug=path.model, sae__slug=path.sae, index=path.index) for path in paths
    )
    return list(Feature.objects.filter(reduce(or_, conditions)).select_related("sae__model"))


def _examples(rows: Sequence[Feature]) -> dict[int, list[StoredExample]]:
    """The top examples of each feature, best first."""
    context = ("sequence_id", *(f"sequence__{name}" for name in StoredExample._fields[1:4]))
    top = Example.objects.filter(feature__in=rows, band=0, rank__lt=EXAMPLES)
    examples = defaultdict(list)
    for feature, *values in top.order_by("feature", "rank").values_list(
        "feature", *context, *StoredExample._fields[4:]
    ):
        examples[feature].append(StoredExample(*values))
    return examples


def _vocabularies(
    rows: Sequence[Feature], examples: dict[int, list[StoredExample]]
) -> dict[int, Vocabulary]:
    """By model, the tokens of its features."""
    ids: dict[int, set[int]] = defaultdict(set)
    for row in rows:
        ids[row.sae.model_id].update(row.top_logit_ids, row.bottom_logit_ids)
        for example in examples.get(row.pk, []):
            ids[row.sae.model_id].update(example.token_ids)
    return {model: vocabulary_of(model, token_ids) for model, token_ids in ids.items()}


def _compared(
    row: Feature, examples: Sequence[StoredExample], vocabulary: Vocabulary
) -> ComparedFeature:
    return ComparedFeature(
        row,
        [shown_example(e, example_spans(e, vocabulary, row.max_activation)) for e in examples],
        logits_of(row.top_logit_ids, row.top_logits, vocabulary),
        logits_of(row.bottom_logit_ids, row.bottom_logits, vocabulary),
    )
