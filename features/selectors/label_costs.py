"""The cost of an SAE's shown labels by method: of the jobs that wrote or scored them."""

from typing import NamedTuple

from django.db import connection


class LabelCost(NamedTuple):
    """The total cost of one method's labels, or of their scores, over `jobs`.

    `tokens` counts prompts and completions, None without a language model; `dollars` come from the
    prices of the endpoints, None if none has a price. A job that wrote labels of two methods counts
    fully for each.
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


def label_costs(sae: int) -> list[LabelCost]:
    """For each method a row for writing and one for scoring, without labels from outside this
    instance.
    """
    with connection.cursor() as cursor:
        cursor.execute(COSTS, {"sae": sae})
        rows = cursor.fetchall()
    return [
        LabelCost(
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
