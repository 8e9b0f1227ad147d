"""Write features with their examples to PostgreSQL by binary COPY, one transaction per range.

Features keep their rows, and so their labels, across runs; examples are replaced. It can be
repeated.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction
from django.db.models import Count, Q

from features.ingest import pg_arrays
from features.models import Corpus, Dashboard, Example, Feature, Job, Peak, Sae
from features.records import (
    COUNT_ORDINARY,
    CountingRule,
    FeatureMap,
    FeatureRange,
    FeatureRecord,
    LeftOut,
    ReadoutRecord,
    SequenceRecord,
)

COLUMNS = {  # of FeatureRecord, in its order, as PostgreSQL types; examples have their own table
    "index": "int4",
    "fires": "int8",
    "density": "float8",
    "max_activation": "float8",
    "mean_activation": "float8",
    "histogram": "int8[]",
    "histogram_width": "float8",
    "band_edges": "float4[]",
    "top_logit_ids": "int4[]",
    "top_logits": "float4[]",
    "bottom_logit_ids": "int4[]",
    "bottom_logits": "float4[]",
    "logit_histogram": "int4[]",
    "logit_low": "float8",
    "logit_high": "float8",
    "nearest": "int4[]",
    "nearest_cosines": "float4[]",
    "decoder_norm": "float8",
    "encoder_decoder_cosine": "float8",
    "nearest_both": "int8[]",
    "cofiring": "int4[]",
    "cofiring_both": "int8[]",
    "cofiring_jaccards": "float4[]",
}
NO_PLACE = "map_x = NULL, map_y = NULL, cluster = NULL"
"""A map is of one run's live features: it goes with what it was made of."""
NO_DOSE = "best_dose = NULL"
"""A dose is a share of the feature's maximum, which is another one now."""
HALF_DECADES = 14
"""Bins of a dashboard's density histogram: half decades from 1e-7 to 1."""


@transaction.atomic
def write_range(sae: Sae, corpus: Corpus, context_size: int, batch: FeatureRange) -> int:
    """Write features [start, stop) with their examples and sequences. Returns the number of
    examples.

    The first range deletes the `Dashboard` of an earlier run, whose numbers no longer hold. Raises
    `ObjectDoesNotExist` if the SAE or corpus was deleted meanwhile.
    """
    for row in (sae, corpus):
        _hold(row)
    Dashboard.objects.filter(sae=sae).delete()
    sequences = _write_sequences(sae, corpus, context_size, batch.sequences)
    features = _write_features(sae, batch.features)
    Example.objects.filter(feature__in=features.values())._raw_delete(Example.objects.db)
    _write_peaks(sae, features, batch)
    examples = [e for f in batch.features for e in f.examples]
    rows = zip(
        (features[f.index] for f in batch.features for _ in f.examples),
        (sequences[e.sequence] for e in examples),
        *([getattr(e, name) for e in examples] for name in ("band", "rank", "peak")),
        pg_arrays.packed("int2", [e.positions for e in examples]),
        pg_arrays.packed("float4", [e.values for e in examples]),
        pg_arrays.packed("int2", [e.left_out for e in examples]),
        strict=True,
    )
    columns = (
        '"feature_id", "sequence_id", "band", "rank", "peak", "positions", "values", "left_out"'
    )
    return copy_rows(
        "features_example",
        columns,
        ["int8", "int8", "int2", "int2", "int2", "int2[]", "float4[]", "int2[]"],
        rows,
    )


@transaction.atomic
def finish(
    sae: Sae,
    corpus: Corpus,
    tokens: int,
    job: Job | None,
    code_version: str,
    readout: ReadoutRecord | None = None,
    rule: CountingRule = COUNT_ORDINARY,
    left_out: LeftOut = LeftOut(),  # noqa: B008  # an immutable tuple
) -> Dashboard:
    """Write the `Dashboard` row, which marks the features of `sae` complete. `readout` describes
    how logits were computed, `rule` which tokens count; `left_out` are the others.
    """
    alive = Feature.objects.filter(sae=sae).aggregate(alive=Count("pk", filter=Q(fires__gt=0)))[
        "alive"
    ]
    made = {
        "corpus": corpus,
        "job": job,
        "tokens": tokens,
        "counted_tokens": {**rule._asdict(), "left_out": left_out._asdict()},
        "context_size": sae.context_size,
        "alive": alive,
        "density_histogram": _density_histogram(sae),
        "sae_sha256": sae.sha256,
        "model_revision": sae.model.revision,
        "corpus_revision": corpus.revision,
        "code_version": code_version,
        "readout": readout._asdict() if readout else None,
        "map": None,
        "mapped_by": None,
    }
    return Dashboard.objects.update_or_create(sae=sae, defaults=made)[0]


@transaction.atomic
def write_map(dashboard: Dashboard, record: FeatureMap, job: Job | None) -> None:
    """Write the map coordinates of all features of an SAE, or of none. Raises
    `Dashboard.DoesNotExist` if the dashboard was replaced meanwhile.
    """
    Dashboard.objects.select_for_update().get(pk=dashboard.pk, made=dashboard.made)
    columns = '"index", "map_x", "map_y", "cluster"'
    with _staging("features_feature", columns) as staged, connection.cursor() as cursor:
        rows = zip(record.indices, record.x, record.y, record.clusters, strict=True)
        copy_rows(staged, columns, ["int4", "float4", "float4", "int4"], rows)
        cursor.execute(
            f"UPDATE features_feature SET {NO_PLACE} WHERE sae_id = %s AND map_x IS NOT NULL",
            [dashboard.sae_id],
        )
        cursor.execute(
            "UPDATE features_feature SET map_x = m.map_x, map_y = m.map_y, cluster = m.cluster"
            f' FROM {staged} m WHERE sae_id = %s AND features_feature."index" = m."index"',
            [dashboard.sae_id],
        )
    settings = {name: getattr(record, name) for name in ("neighbours", "seed", "made_with")}
    clusters = {number for number in record.clusters if number is not None}
    dashboard.map = {"features": len(record.indices), "clusters": len(clusters), **settings}
    dashboard.mapped_by = job
    dashboard.save(update_fields=["map", "mapped_by"])


def _hold(row: Sae | Corpus) -> None:
    """Lock a row against deletion until this transaction ends, as a foreign key would for
    each row.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT 1 FROM {row._meta.db_table} WHERE id = %s FOR KEY SHARE", [row.pk])
        if not cursor.fetchone():
            raise type(row).DoesNotExist(f"{row} was deleted meanwhile")


def _density_histogram(sae: Sae) -> list[int]:
    counts = [0] * HALF_DECADES
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT greatest(least(floor(2 * log(density)) + %s, %s), 0)::int AS bin, count(*) "
            "FROM features_feature"
            " WHERE sae_id = %s AND density > 0 GROUP BY bin",
            [HALF_DECADES, HALF_DECADES - 1, sae.pk],
        )
        for place, count in cursor.fetchall():
            counts[place] = count
    return counts


def _write_sequences(
    sae: Sae, corpus: Corpus, context_size: int, records: Iterable[SequenceRecord]
) -> dict[int, int]:
    """Write sequences and return their ids by position in the corpus. Existing ones are not sent
    again.
    """
    key = (corpus.pk, sae.model_id, context_size, corpus.begins_with_bos(sae.prepend_bos))
    unique = {record.position: record for record in records}
    known = _sequence_rows(key, list(unique))
    missing = [record for position, record in unique.items() if position not in known]
    if not missing:
        return known
    rows = ((*key, record.position, record.document[:300], record.token_ids) for record in missing)
    columns = '"corpus_id", "model_id", "context_size", "bos", "position", "document", "token_ids"'
    with _staging("features_sequence", columns) as staged, connection.cursor() as cursor:
        copy_rows(staged, columns, ["int8", "int8", "int4", "bool", "int4", "text", "int4[]"], rows)
        cursor.execute(
            f"INSERT INTO features_sequence ({columns}) SELECT {columns} FROM {staged} ORDER BY "
            "position ON CONFLICT DO NOTHING"
            " RETURNING position, id"
        )
        known |= dict(cursor.fetchall())
    others = [
        position for position in unique if position not in known
    ]  # which another job wrote meanwhile
    return known | _sequence_rows(key, others) if others else known


def _sequence_rows(key: tuple[int, int, int, bool], positions: list[int]) -> dict[int, int]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT position, id FROM features_sequence WHERE corpus_id = %s AND model_id = %s "
            "AND context_size = %s"
            " AND bos = %s AND position = ANY(%s)",
            [*key, positions],
        )
        return dict(cursor.fetchall())


def _write_features(sae: Sae, records: Iterable[FeatureRecord]) -> dict[int, int]:
    """Write features and return their ids by index. Existing rows get the new numbers."""
    names = [f'"{name}"' for name in COLUMNS]
    columns = ", ".join(['"sae_id"', *names])
    changes = ", ".join(f"{name} = excluded.{name}" for name in names)
    rows = ((sae.pk, *record[: len(COLUMNS)]) for record in records)
    with _staging("features_feature", columns) as staged, connection.cursor() as cursor:
        copy_rows(staged, columns, ["int8", *COLUMNS.values()], rows)
        cursor.execute(
            f"INSERT INTO features_feature ({columns}) SELECT {columns} FROM {staged} ORDER BY "
            "index"
            f' ON CONFLICT (sae_id, "index") DO UPDATE SET {changes}, {NO_PLACE}, {NO_DOSE}, '
            "updated = statement_timestamp()"
            ' RETURNING "index", id'
        )
        return dict(cursor.fetchall())


def _write_peaks(sae: Sae, features: Mapping[int, int], batch: FeatureRange) -> None:
    """Write how many top examples of each feature peak on each token."""
    Peak.objects.filter(feature__in=features.values())._raw_delete(Peak.objects.db)
    token_ids = {record.position: record.token_ids for record in batch.sequences}
    rows = (
        (features[f.index], sae.pk, token_id, times, f.max_activation)
        for f in batch.features
        for token_id, times in Counter(
            token_ids[e.sequence][e.peak] for e in f.examples if e.band == 0
        ).items()
    )
    columns = '"feature_id", "sae_id", "token_id", "examples", "maximum"'
    copy_rows("features_peak", columns, ["int8", "int8", "int4", "int2", "float4"], rows)


@contextmanager
def _staging(table: str, columns: str) -> Iterator[str]:
    """Create a temporary table with some columns of `table`, dropped at the end of the
    transaction.
    """
    name = f"staged_{table}"
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE TEMP TABLE {name} ON COMMIT DROP AS SELECT {columns} FROM {table} WITH NO DATA"
        )
        yield name
        cursor.execute(f"DROP TABLE {name}")


def copy_rows(table: str, columns: str, types: list[str], rows: Iterable[tuple[Any, ...]]) -> int:
    """Write rows by binary COPY; `types` are PostgreSQL types. Returns the number of rows."""
    count = 0
    with connection.cursor() as cursor:
        pg_arrays.register(cursor.adapters)  # of this cursor, not of every query of the process
        with cursor.copy(f"COPY {table} ({columns}) FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(types)
            for row in rows:
                copy.write_row(row)
                count += 1
    return count
