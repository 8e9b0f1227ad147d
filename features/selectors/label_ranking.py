"""Matching labels grouped by feature: merged, ordered, with matching words marked."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from features.models import Feature, Label
from features.selectors import label_query
from features.selectors.label_query import LabelQuery
from features.selectors.label_search import Hit
from features.selectors.snippets import snippets
from features.token_spans import Span

MAX_RESULTS = 200
CUT = re.compile(r"([^\W_]+|[^\w\s]|_)")
"""Cuts a text where `features_parts` does, signs one by one; what it finds stands at odd places."""
RRF = 60
"""Added to every rank before it is inverted (Cormack, Clarke and Büttcher 2009): no single first
rank decides.
"""

ORDERS: dict[str, Callable[["Found"], Any]] = {
    "relevance": lambda row: -row.merged,
    "-score": lambda row: -(row.score or 0.0),
    "-support": lambda row: -max(match.label.support for match in row.labels),
    "-causal_effect": lambda row: -row.feature.causal_effect,
    "-density": lambda row: -row.feature.density,
    "density": lambda row: row.feature.density,
    "-max_activation": lambda row: -row.feature.max_activation,
}


class Part(NamedTuple):
    """A part of a label's text; `hit` if it matches the query."""

    text: str
    hit: bool


class MatchingLabel(NamedTuple):
    """A label with the matching words marked."""

    label: Label
    parts: list[Part]
    cosine: float | None


class Found(NamedTuple):
    """A feature with all of its matching labels, best first. Ranks count from 1; None if it did not
    match that way.
    """

    feature: Feature
    labels: list[MatchingLabel]
    by_words: int | None
    by_meaning: int | None
    merged: float
    snippet: list[Span]

    @property
    def score(self) -> float | None:
        """The best held-out score of its matching labels; None without one."""
        return max(
            (match.label.score for match in self.labels if match.label.score is not None),
            default=None,
        )


class Merged(NamedTuple):
    """A page of features, and their total number."""

    rows: list[Found]
    features: int


def merge(
    query: LabelQuery,
    words: Sequence[Hit],
    meaning: Sequence[Hit],
    *,
    order: str = "relevance",
    limit: int,
    start: int = 0,
) -> Merged:
    """One row per feature from matches by words and by meaning, most relevant first, or the
    `MAX_RESULTS` most relevant in `order`; `limit` rows from `start` on.

    Five queries, and two more for each further model.
    """
    ranks = [_ranks(words), _ranks(meaning)]
    scores = {pk: sum(1 / (RRF + of[pk]) for of in ranks if pk in of) for of in ranks for pk in of}
    ranked = sorted(scores, key=lambda pk: (-scores[pk], pk))
    by_relevance, part = order == "relevance", slice(start, start + limit)
    first = ranked if by_relevance else ranked[:MAX_RESULTS]
    shown = first[part] if by_relevance else first  # another order needs the numbers of all of them
    features = (
        Feature.objects.select_related("sae__model")
        .only(
            "index",
            "density",
            "fires",
            "max_activation",
            "causal_effect",
            "label_id",
            "sae__slug",
            "sae__hook",
            "sae__model__slug",
        )
        .in_bulk(shown)
    )
    matching = _matching_labels(_by_feature(shown, [*words, *meaning]))
    rows = [
        Found(features[pk], matching[pk], ranks[0].get(pk), ranks[1].get(pk), scores[pk], [])
        for pk in shown if pk in features and matching.get(pk)
    ]  # fmt: skip
    rows.sort(key=ORDERS[order])
    return Merged(_with_snippets(_marked(query, rows if by_relevance else rows[part])), len(first))


def _ranks(hits: Iterable[Hit]) -> dict[int, int]:
    """The rank of each feature, that of its best label."""
    return {pk: place for place, pk in enumerate(dict.fromkeys(hit.feature for hit in hits), 1)}


def _by_feature(wanted: Iterable[int], hits: Iterable[Hit]) -> dict[int, dict[int, float | None]]:
    found: dict[int, dict[int, float | None]] = {pk: {} for pk in wanted}
    for hit in hits:
        if hit.feature in found:
            known = found[hit.feature].get(hit.label)
            found[hit.feature][hit.label] = hit.cosine if known is None else known
    return found


def _matching_labels(
    hits: Mapping[int, Mapping[int, float | None]],
) -> dict[int, list[MatchingLabel]]:
    """The labels of each feature, without marks; labels deleted meanwhile are left out."""
    rows = Label.objects.shown().select_related("author").only(
        "feature_id", "text", "method", "score", "support", "author__username"
    )  # fmt: skip
    labels = rows.in_bulk([label for of in hits.values() for label in of])
    return {
        feature: [
            MatchingLabel(labels[pk], [], cosine) for pk, cosine in of.items() if pk in labels
        ]
        for feature, of in hits.items()
    }


def _marked(query: LabelQuery, rows: Iterable[Found]) -> list[Found]:
    """With the words that answer the query marked; one query for all of them."""
    rows = list(rows)
    cut = {match.label.pk: CUT.split(match.label.text) for row in rows for match in row.labels}
    lexemes = label_query.stems({part.lower() for parts in cut.values() for part in parts[1::2]})
    parts = {
        pk: [_part(query, part, lexemes) for part in parts if part] for pk, parts in cut.items()
    }
    return [
        row._replace(labels=[match._replace(parts=parts[match.label.pk]) for match in row.labels])
        for row in rows
    ]


def _part(query: LabelQuery, text: str, lexemes: Mapping[str, list[str]]) -> Part:
    small = text.lower()
    return Part(
        text,
        small in lexemes and any(word.matches(small, lexemes[small]) for word in query.words),
    )


def _with_snippets(rows: Sequence[Found]) -> list[Found]:
    """Add the text around the peak of the best example. Two queries per model."""
    seen: dict[int, list[Span]] = {}
    by_model: dict[int, list[Feature]] = defaultdict(list)
    for row in rows:
        by_model[row.feature.sae.model_id].append(row.feature)
    for model, features in by_model.items():
        seen |= snippets(features, model)
    return [row._replace(snippet=seen.get(row.feature.pk, [])) for row in rows]
