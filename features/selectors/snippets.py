"""Words around the peaks of examples, as boxes of a heatmap; no more of a context is read than is
shown.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from django.db import connection

from features.models import Feature
from features.token_spans import Span, Vocabulary, around, spans
from features.vocabulary import vocabulary_of

SNIPPET = (12, 12)
"""Boxes before a peak and after it, in lists."""
WIDER = (24, 12)
"""The same of examples on a feature's own page."""
MAX_TOKENS = 4
"""Tokens of a box: a character has at most so many bytes."""
BEST = """
SELECT e.feature_id, e.peak, e.positions, e.values, greatest(e.peak - %(before)s, 0),
    greatest(cardinality(s.token_ids) - e.peak - 1 - %(after)s, 0),
    s.token_ids[e.peak + 1 - %(before)s : e.peak + 1 + %(after)s], e.left_out
FROM features_example e JOIN features_sequence s ON s.id = e.sequence_id
WHERE e.feature_id = ANY(%(features)s) AND e.band = 0 AND e.rank = 0
"""


class Part(NamedTuple):
    """An example's firings, and tokens around its peak: the first is at place `first` of its
    context, `after` more follow.
    """

    feature: int
    peak: int
    positions: list[int]
    values: list[float]
    first: int
    after: int
    token_ids: list[int]
    left_out: list[int]


def snippets(rows: Iterable[Feature], model_id: int) -> dict[int, list[Span]]:
    """By feature id, the words around the peak of its best example: a query, and one where their
    tokens are new here.
    """
    maxima = {row.pk: row.max_activation for row in rows}
    before, after = (MAX_TOKENS * (boxes + 1) for boxes in SNIPPET)
    with connection.cursor() as cursor:
        cursor.execute(BEST, {"features": list(maxima), "before": before, "after": after})
        parts = [Part(*row) for row in cursor.fetchall()]
    found, _ = near_peaks(parts, maxima, model_id, SNIPPET)
    return {part.feature: spans for part, spans in zip(parts, found, strict=True)}


def near_peaks(
    parts: Sequence[Part],
    maxima: Mapping[int, float],
    model_id: int,
    reach: tuple[int, int] | None,
    also: Iterable[int] = (),
) -> tuple[list[list[Span]], Vocabulary]:
    """The boxes of examples of features with these maxima, `reach` of them before the peak and
    after it (None: all), and the vocabulary that was read, with that of `also`. One query where a
    token is new here.
    """
    vocabulary = vocabulary_of(
        model_id,
        {i for part in parts for i in part.token_ids[_near(part, reach, MAX_TOKENS)]}.union(also),
    )
    return [_around(part, vocabulary, maxima[part.feature], reach) for part in parts], vocabulary


def _around(
    part: Part, vocabulary: Vocabulary, maximum: float, reach: tuple[int, int] | None
) -> list[Span]:
    """Mostly a box is one token: what that many tokens lack is sought in as many as
    boxes can have.
    """
    found = _boxes(part, vocabulary, maximum, _near(part, reach, 1), reach)
    if found is None:
        found = _boxes(part, vocabulary, maximum, _near(part, reach, MAX_TOKENS), reach, last=True)
    return found or []


def _near(part: Part, reach: tuple[int, int] | None, tokens: int) -> slice:
    """The tokens that may be needed, so many for each box, and for one box more than is shown."""
    if reach is None:
        return slice(0, len(part.token_ids))
    before, after = (tokens * (boxes + 1) for boxes in reach)
    peak = part.peak - part.first
    return slice(max(peak - before, 0), peak + after + 1)


def _boxes(
    part: Part,
    vocabulary: Vocabulary,
    maximum: float,
    near: slice,
    reach: tuple[int, int] | None,
    *,
    last: bool = False,
) -> list[Span] | None:
    """The boxes of some tokens, with positions in the whole context; None where these hold too few
    and more can be asked for.

    The box at a cut end may be half of a character, so that one more than is shown must be there.
    """
    ids, first = part.token_ids, part.first + near.start
    boxes = spans(
        ids[near],
        vocabulary,
        part.positions,
        part.values,
        part.peak,
        maximum,
        first,
        part.left_out,
    )
    if reach is None:
        return boxes
    middle = next((i for i, box in enumerate(boxes) if box.peak), 0)
    cut_before = first > 0 and middle <= reach[0]
    cut_after = near.stop < len(ids) + part.after and len(boxes) - 1 - middle <= reach[1]
    return None if (cut_before or cut_after) and not last else around(boxes, *reach)
