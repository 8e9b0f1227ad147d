"""What an SAE's labels amount to: how many features have one, by which methods, and how they were
scored.
"""

import json
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import Count, Q

from features.models import Feature, Sae
from features.selectors import agreement, label_costs

BINS = 20


class Coverage(NamedTuple):
    """Live features of an SAE, those with a label, with one by a person, and the disputed."""

    alive: int
    labelled: int
    by_people: int
    disputed: int

    @property
    def share(self) -> float | None:
        """Labelled ones among the live."""
        return self.labelled / self.alive if self.alive else None


class Method(NamedTuple):
    """What one method gave an SAE, of one kind of score: labels, features' labels among them, and
    their scores' distribution.

    `histogram` counts scores in equal bins from 0 to 1; empty, as `kind` and the other two are,
    where none was scored.
    """

    method: str
    labels: int
    chosen: int
    kind: str
    scored: int
    mean: float | None
    median: float | None
    histogram: list[int]


class Report(NamedTuple):
    """Everything that the page of an SAE's labels shows."""

    coverage: Coverage
    methods: list[Method]
    people: agreement.Agreement
    words: agreement.Agreement
    duels: list[agreement.MethodComparison]
    costs: list[label_costs.LabelCost]


METHODS = """
WITH shown AS (
    SELECT l.method, l.score_kind, l.score, (f.label_id = l.id) IS TRUE AS chosen
    FROM features_label l JOIN features_feature f ON f.id = l.feature_id WHERE l.sae_id = %(sae)s
        AND l.state = 'shown'
), bins AS (
    SELECT method, score_kind, least(floor(score * %(bins)s)::int, %(bins)s - 1) AS bin,
        count(*) AS n
    FROM shown WHERE score IS NOT NULL GROUP BY 1, 2, 3
)
SELECT s.method, count(*), count(*)
    FILTER (WHERE chosen), s.score_kind, count(s.score), avg(s.score),
    percentile_cont(0.5) WITHIN GROUP (ORDER BY s.score),
    (SELECT jsonb_object_agg(b.bin, b.n) FROM bins b WHERE b.method = s.method
        AND b.score_kind = s.score_kind)
FROM shown s GROUP BY s.method, s.score_kind ORDER BY 2 DESC, 1, 4
"""


def report(sae: Sae) -> Report:
    """The report of an SAE, in six queries."""
    people, words, duels = (
        agreement.people_agreement(sae.pk),
        agreement.method_agreement(sae.pk),
        agreement.compare_methods(sae.pk),
    )
    return Report(
        coverage(sae), methods(sae), people, words, duels, label_costs.label_costs(sae.pk)
    )


def coverage(sae: Sae) -> Coverage:
    """How many features have a label."""
    found: Any = Feature.objects.filter(sae=sae).aggregate(
        alive=Count("pk", filter=Q(fires__gt=0)),
        labelled=Count("pk", filter=Q(fires__gt=0, label__isnull=False)),
        by_people=Count("pk", filter=Q(fires__gt=0, label__method="person")),
        disputed=Count("pk", filter=Q(disputed=True)),
    )
    return Coverage(**found)


def methods(sae: Sae) -> list[Method]:
    """Methods by how many labels they gave, a row for each kind of score that counts."""
    with connection.cursor() as cursor:
        cursor.execute(METHODS, {"sae": sae.pk, "bins": BINS})
        rows = cursor.fetchall()
    return [_method(*row) for row in rows]


def _method(
    method: str,
    labels: int,
    chosen: int,
    kind: str,
    scored: int,
    mean: float | None,
    median: float | None,
    bins: str | None,
) -> Method:
    return Method(method, labels, chosen, kind, scored, mean, median, _bins(bins))


def _bins(found: str | None) -> list[int]:
    counts: dict[str, int] = (
        json.loads(found) if found else {}
    )  # Django's cursor leaves JSON as text
    return [counts.get(str(place), 0) for place in range(BINS)] if counts else []
