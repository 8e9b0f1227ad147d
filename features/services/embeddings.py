"""Embeddings of labels: finding those that are missing, storing them, and their index.

All vectors of the table are from one embedder. When the embedder changes, the table is emptied, the
index is rebuilt for the new dimension, and all labels are embedded again; meanwhile searches by
meaning find those that are done.
"""

from collections.abc import Collection, Sequence
from datetime import timedelta
from functools import partial
from typing import NamedTuple

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from features.jobs.forms import EmbedLabels
from features.models import Job, LabelEmbedding
from features.records import InvalidParams
from features.services import jobs as job_services

AFTER_A_FAILURE = timedelta(hours=1)
"""How long no job is started automatically after one failed."""

OFF = "off"
MISSING = """
FROM features_label l LEFT JOIN features_labelembedding e ON e.label_id = l.id
    WHERE l.state = 'shown' AND e.label_id IS NULL
"""
INDEX = "label_by_meaning"


class PendingLabel(NamedTuple):
    """A label whose current text has no embedding."""

    id: int
    version: int
    text: str


def start_for(features: Collection[int]) -> None:
    """When this transaction commits, start the job if labels of these features lack embeddings."""
    if settings.EMBEDDER != OFF:
        transaction.on_commit(partial(_start_where_missing, list(features)), robust=True)


def start_when_due() -> None:
    """Start the job if any label lacks an embedding."""
    if settings.EMBEDDER != OFF and pending_labels(after=0, limit=1):
        _start()


def pending_labels(*, after: int, limit: int) -> list[PendingLabel]:
    """The next labels to embed, by rising id."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT l.id, l.version, l.text {MISSING} AND l.id > %s ORDER BY l.id LIMIT %s",
            [after, limit],
        )
        return [PendingLabel(*row) for row in cursor.fetchall()]


def count_missing() -> int:
    """The number of labels without an embedding."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) {MISSING}")
        return int(cursor.fetchone()[0])


@transaction.atomic
def prepare(embedder: str, dimensions: int) -> bool:
    """Prepare table and index for an embedder. Returns whether vectors of another embedder were
    deleted.
    """
    with connection.cursor() as cursor:
        cursor.execute("LOCK TABLE features_labelembedding IN SHARE ROW EXCLUSIVE MODE")
        others = LabelEmbedding.objects.exclude(embedder=embedder).exists()
        if others:
            cursor.execute("TRUNCATE features_labelembedding")
        cursor.execute(
            "SELECT coalesce((SELECT indexdef FROM pg_indexes WHERE indexname = %s), '')", [INDEX]
        )
        if f"halfvec({dimensions})" not in cursor.fetchone()[0]:
            cursor.execute(f"DROP INDEX IF EXISTS {INDEX}")
            cursor.execute(
                f"CREATE INDEX {INDEX} ON features_labelembedding"
                f" USING hnsw ((vector::halfvec({dimensions})) halfvec_cosine_ops)"
            )
    return others


def store(
    embedder: str, labels: Sequence[PendingLabel], vectors: Sequence[Sequence[float]]
) -> None:
    """Store the vectors of labels, except those that were edited, hidden or deleted meanwhile."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO features_labelembedding (label_id, sae_id, embedder, vector)"
            " SELECT l.id, l.sae_id, %s, n.vector::halfvec"
            " FROM unnest(%s::bigint[], %s::int[], %s::text[]) AS n (id, version, vector)"
            " JOIN features_label l ON l.id = n.id AND l.version = n.version AND l.state = "
            "'shown' ORDER BY l.id FOR SHARE OF l"
            " ON CONFLICT (label_id) DO UPDATE SET embedder = excluded.embedder, vector = "
            "excluded.vector",
            [
                embedder,
                [label.id for label in labels],
                [label.version for label in labels],
                [as_text(vector) for vector in vectors],
            ],
        )


def as_text(vector: Sequence[float]) -> str:
    """A vector as pgvector reads it."""
    return f"[{','.join(f'{value:.6g}' for value in vector)}]"


def _start_where_missing(features: list[int]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT EXISTS (SELECT {MISSING} AND l.feature_id = ANY(%s))", [features])
        behind = cursor.fetchone()[0]
    if behind:
        _start()


def _start() -> None:
    lately = Job.objects.filter(
        kind=EmbedLabels.kind, state=Job.State.FAILED, ended__gt=timezone.now() - AFTER_A_FAILURE
    )
    if lately.exists():
        return  # it would fail again for every label that is written
    try:
        job_services.start(EmbedLabels.kind, {})
    except InvalidParams:
        return  # one waits already
