"""Agreement of people, and of methods, on the labels of an SAE: Krippendorff's alpha for nominal
ratings.

    alpha = 1 - observed / expected disagreement
          = 1 - (n - 1) * sum_u (m_u² - sum_c n_uc²) / (m_u - 1)  /  (n² - sum_c n_c²)

over units u with m_u >= 2 ratings, n_uc of them c; n_c and n = sum_u m_u count these ratings only.
1 is full agreement, 0 agreement by chance. Computed in SQL, because there are as many values as
label texts; tests compare it with the package `krippendorff`.
"""

from typing import NamedTuple

from django.db import connection

ALPHA = """
WITH ratings AS ({ratings}),
counts AS (SELECT unit, value, count(*)::numeric AS n FROM ratings GROUP BY unit, value),
units AS (SELECT unit, sum(n) AS m, sum(n * n) AS squares FROM counts GROUP BY unit
    HAVING sum(n) > 1),
totals AS (SELECT value, sum(n) AS n FROM counts JOIN units USING (unit) GROUP BY value)
SELECT (SELECT count(*) FROM units), coalesce((SELECT sum(m) FROM units), 0),
    (SELECT sum((m * m - squares) / (m - 1)) FROM units), (SELECT sum(n) * sum(n) - sum(n * n)
        FROM totals)
"""

PEOPLE = """
SELECT l.id AS unit, v.value::text AS value FROM features_vote v
    JOIN features_label l ON l.id = v.label_id
WHERE l.sae_id = %(sae)s AND l.state = 'shown' AND v.version = l.version AND v.weight > 0
UNION ALL
SELECT id, '1' FROM features_label WHERE sae_id = %(sae)s AND state = 'shown' AND method = 'person'
    AND weight > 0
"""
"""Unit: the current text of a shown label. Rating: a person's vote; its author votes for it.
Suspended users do not count.
"""

METHODS = """
SELECT unit, value FROM (
    SELECT DISTINCT ON (feature_id, method) feature_id AS unit, method, lower(text) AS value
    FROM features_label WHERE sae_id = %(sae)s AND state = 'shown'
        ORDER BY feature_id, method, support DESC, id
) best
"""
"""Unit: a feature. Rating: the text of a method's best label; all people are one method."""


class Agreement(NamedTuple):
    """Alpha over `units` with at least two ratings each; None if it is not defined."""

    alpha: float | None
    units: int
    ratings: int


def people_agreement(sae: int) -> Agreement:
    """Agreement of people's votes on labels."""
    return _alpha(PEOPLE, sae)


def method_agreement(sae: int) -> Agreement:
    """Agreement of methods (people are one) on the exact text of labels."""
    return _alpha(METHODS, sae)


def _alpha(ratings: str, sae: int) -> Agreement:
    with connection.cursor() as cursor:
        cursor.execute(ALPHA.format(ratings=ratings), {"sae": sae})
        ((units, count, observed, expected),) = cursor.fetchall()
    alpha = (
        None if not expected or observed is None else float(1 - (count - 1) * observed / expected)
    )
    return Agreement(alpha, int(units), int(count))


class MethodComparison(NamedTuple):
    """Two methods on the features that both labelled and that have the same kind of score:
    `wins` counts features where `first` scored higher, `difference` is the mean difference with its
    95% interval.
    """

    first: str
    second: str
    kind: str
    features: int
    wins: int
    losses: int
    difference: float
    low: float | None
    high: float | None


DUELS = """
WITH best AS (
    SELECT DISTINCT ON (feature_id, method, score_kind) feature_id, method, score_kind, score
        FROM features_label
    WHERE sae_id = %(sae)s AND state = 'shown' AND score IS NOT NULL
    ORDER BY feature_id, method, score_kind, support DESC, id
)
SELECT a.method, b.method, a.score_kind, count(*), count(*) FILTER (WHERE a.score > b.score),
    count(*) FILTER (WHERE a.score < b.score), avg(a.score - b.score),
        stddev_samp(a.score - b.score)
FROM best a JOIN best b ON a.feature_id = b.feature_id AND a.score_kind = b.score_kind
    AND a.method < b.method
GROUP BY 1, 2, 3 ORDER BY 4 DESC, 1, 2, 3
"""


def compare_methods(sae: int) -> list[MethodComparison]:
    """Compare every pair of methods by kind of score; the better method comes first."""
    with connection.cursor() as cursor:
        cursor.execute(DUELS, {"sae": sae})
        rows = cursor.fetchall()
    return [_duel(*row) for row in rows]


def _duel(
    a: str,
    b: str,
    kind: str,
    count: int,
    wins: int,
    losses: int,
    mean: float,
    deviation: float | None,
) -> MethodComparison:
    if mean < 0:
        a, b, wins, losses, mean = b, a, losses, wins, -mean
    half = None if deviation is None else 1.96 * deviation / count**0.5
    low, high = (None, None) if half is None else (mean - half, mean + half)
    return MethodComparison(a, b, kind, count, wins, losses, mean, low, high)
