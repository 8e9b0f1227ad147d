"""One label per feature, by a rule that anybody can follow; docs/labels.md says it in words.

    net      = weight of the author, of a person's label
             + weights of votes for it - weights of votes against it
    evidence = 2 * min(score, balanced accuracy or AUROC) - 1, at least 0: nothing for a score of
               0.5 or less, for a claim at chance, and for what a feature promotes
    support  = net + evidence

Weights are 1 for a member, 3 for a curator or staff, 0 for who is suspended. Of the shown labels
with positive support, and those of people without more votes against than for, the one with the
highest net is the feature's label; of equals a person's, then the one with more evidence, then the
older. A feature is disputed where its label has as much weight against as for it, or where people
stand for another label that has at least half its support.
"""

from collections.abc import Collection
from typing import Any

from django.db import connection, transaction

from features.models import LabelScore
from features.services import embeddings

MEMBER, CURATOR, SUSPENDED = 1, 3, 0
RIVAL_SHARE = 0.5

COUNT = """
UPDATE features_label l SET
    up = c.up, down = c.down, score = c.score, score_kind = c.kind, density = c.density,
    causal_effect = c.causal_effect, support = l.weight + c.up - c.down + c.evidence
FROM (
    SELECT m.id, coalesce(v.up, 0) AS up, coalesce(v.down, 0) AS down, s.score,
        coalesce(s.kind, '') AS kind, f.density, f.causal_effect,
        CASE WHEN s.kind = 'promotes' THEN 0
            ELSE greatest(2 * least(s.score, s.chance_half) - 1, 0) END AS evidence
    FROM features_label m JOIN features_feature f ON f.id = m.feature_id
    LEFT JOIN LATERAL (
        SELECT sum(weight) FILTER (WHERE value > 0) AS up, sum(weight)
            FILTER (WHERE value < 0) AS down
        FROM features_vote WHERE label_id = m.id AND version = m.version
    ) v ON true
    LEFT JOIN LATERAL (
        SELECT coalesce(f1, balanced_accuracy, auroc) AS score,
            coalesce(balanced_accuracy, auroc) AS chance_half, kind
        FROM features_labelscore
        WHERE label_id = m.id AND version = m.version AND kind = ANY(%(kinds)s)
            AND coalesce(f1, balanced_accuracy, auroc) IS NOT NULL
        ORDER BY array_position(%(kinds)s, kind::text), made DESC, id DESC LIMIT 1
    ) s ON true
    WHERE m.feature_id = ANY(%(features)s)
) c
WHERE l.id = c.id AND (l.up, l.down, l.score, l.score_kind, l.density, l.causal_effect, l.support)
    IS DISTINCT FROM (c.up, c.down, c.score, c.kind, c.density, c.causal_effect,
        l.weight + c.up - c.down + c.evidence)
"""
"""`chance_half` is a number that is 0.5 for a claim at chance: F1 is not (always yes among half
true ones has 0.67)."""

CHOOSE = """
UPDATE features_feature f SET label_id = c.id, disputed = c.disputed
FROM (
    SELECT g.feature_id, w.id, coalesce(w.down > 0
        AND w.down >= w.weight + w.up OR r.id IS NOT NULL, false) AS disputed
    FROM unnest(%(features)s::bigint[]) AS g (feature_id)
    LEFT JOIN LATERAL (
        SELECT * FROM features_label
        WHERE feature_id = g.feature_id AND state = 'shown'
            AND (support > 0 OR method = 'person' AND weight > 0 AND weight + up >= down)
        ORDER BY weight + up - down DESC, method = 'person' DESC, support DESC,
            score DESC NULLS LAST, id LIMIT 1
    ) w ON true
    LEFT JOIN LATERAL (
        SELECT id FROM features_label
        WHERE feature_id = g.feature_id AND state = 'shown' AND id <> w.id
            AND lower(text) <> lower(w.text)
            AND weight + up - down > 0 AND support >= %(rival)s * w.support
        LIMIT 1
    ) r ON true
) c
WHERE f.id = c.feature_id AND (f.label_id, f.disputed) IS DISTINCT FROM (c.id, c.disputed)
"""


@transaction.atomic
def recompute(features: Collection[int]) -> None:
    """Count again and choose the label of the features of those ids, after anything that the rule
    reads has changed.

    Their rows are locked first, in the order of their ids: of two people at once the second counts
    what the first did.
    """
    values: dict[str, Any] = {
        "features": sorted(features),
        "kinds": [str(kind) for kind in LabelScore.EVIDENCE],
        "rival": RIVAL_SHARE,
    }
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM features_feature WHERE id = ANY(%(features)s) ORDER BY id FOR NO KEY "
            "UPDATE",
            values,
        )
        cursor.execute(COUNT, values)
        cursor.execute(CHOOSE, values)
    embeddings.start_for(values["features"])
