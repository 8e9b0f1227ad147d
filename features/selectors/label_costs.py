"""What the labels of an SAE cost, by method: the jobs that wrote those that are shown, and the jobs
that scored them since.
"""

from typing import NamedTuple

from django.db import connection


class Cost(NamedTuple):
    """What one method's labels, or their scores, cost: `jobs`, and of these together tokens, US
    dollars and seconds.

    `tokens` are those of prompts and answers, None where nobody was asked; `dollars` come from the
    prices of the endpoints, None where none has a price. A job that wrote the labels of two methods
    counts whole for each.
    """

    method: str
    scoring: bool
    labels: int
    jobs: int
    tokens: int | None
    dollars: float | None
    seconds: float


COSTS = """
WITH shown AS (
    SELECT id, method, job_id, version FROM features_label WHERE sae_id = %(sae)s
        AND state = 'shown'
), used AS (
    SELECT method, false AS scoring, job_id, id FROM shown
    UNION ALL
    SELECT l.method, true, s.job_id, l.id FROM features_labelscore s
        JOIN shown l ON l.id = s.label_id
    WHERE s.version = l.version AND s.job_id IS DISTINCT FROM l.job_id
), counted AS (
    SELECT method, scoring, count(DISTINCT id) AS labels, array_agg(DISTINCT job_id) AS jobs
    FROM used WHERE job_id IS NOT NULL GROUP BY 1, 2
)
SELECT method, scoring, labels, count(*),
    sum((result->>'prompt_tokens')::bigint + (result->>'completion_tokens')::bigint),
    nullif(sum((result->>'cost')::float), 0), sum(extract(epoch FROM ended - started))
FROM counted JOIN features_job j ON j.id = ANY (jobs) GROUP BY 1, 2, 3 ORDER BY 3 DESC, 1, 2
"""


def costs(sae: int) -> list[Cost]:
    """Each method's row for writing, then its row for scoring; none of labels that no job of this
    instance made.
    """
    with connection.cursor() as cursor:
        cursor.execute(COSTS, {"sae": sae})
        rows = cursor.fetchall()
    return [
        Cost(
            method,
            scoring,
            labels,
            jobs,
            None if tokens is None else int(tokens),
            dollars,
            float(seconds or 0),
        )
        for method, scoring, labels, jobs, tokens, dollars, seconds in rows
    ]
