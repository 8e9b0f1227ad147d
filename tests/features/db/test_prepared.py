"""Statements that are prepared answer as the plain queryset does, for every value, on every
connection.
"""

import gc
import threading
from functools import partial
from typing import Any
from weakref import ref

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.models import Exists, OuterRef

from features.db import prepared
from features.db.model_columns import Columns, Query
from features.db.prepared import Statement, fetch
from features.models import Example, Feature, Label, Sae
from tests import builders


@pytest.fixture
def planted(db: Any) -> builders.Planted:
    """Planted features, on a connection that has prepared nothing yet."""
    with connection.cursor() as cursor:
        cursor.execute("DEALLOCATE ALL")
        prepared._names.pop(cursor.connection, None)
    return builders.planted()


FEATURE, SAE = Columns(Feature, "f"), Columns(Sae, "s")
OF_SAE = Query(
    Statement(
        "of_sae",
        f"""
        SELECT {FEATURE.sql}, {SAE.sql}, EXISTS (
            SELECT FROM features_example WHERE feature_id = f.id AND band = %(band)s)
        FROM features_feature f JOIN features_sae s ON s.id = f.sae_id
        WHERE s.slug = %(sae)s AND f."index" < %(below)s ORDER BY f."index" DESC
        """,
        ("sae", "below", "band"),
    ),
    (FEATURE, SAE),
)
BY_INDEX = Statement(
    "by_index", 'SELECT id, "index" FROM features_feature WHERE "index" = %(index)s', ("index",)
)


def test_rows_are_those_of_the_queryset(planted: Any, django_assert_num_queries: Any) -> None:
    for sae, below, band in (("2-res", 4, 0), ("2-res", 2, 7), ("other", 4, 0)):
        plain = Feature.objects.filter(sae__slug=sae, index__lt=below).order_by("-index")
        band_of = plain.annotate(
            seen=Exists(Example.objects.filter(feature=OuterRef("pk"), band=band))
        )
        with django_assert_num_queries(1):
            rows = list(OF_SAE.fetch(sae=sae, below=below, band=band))
        assert [(row.pk, row.histogram, of.slug, seen) for row, of, seen in rows] == [
            (row.pk, row.histogram, row.sae.slug, row.seen) for row in band_of.select_related("sae")
        ]


def test_instances_are_new_each_time_and_are_known_to_be_stored(planted: Any) -> None:
    (first, *_), (again, *_) = (next(OF_SAE.fetch(sae="2-res", below=1, band=0)) for _ in range(2))
    assert first is not again
    assert first == again
    assert (first._state.adding, first._state.db) == (False, "default")
    assert [e.rank for e in first.examples.all()] == [
        e.rank for e in Example.objects.filter(feature=first)
    ]


def test_json_is_read_and_a_row_that_an_outer_join_lacks_is_none(planted: Any) -> None:
    label = Columns(Label, "l")
    statement = Statement(
        "unlabelled",
        f"""SELECT {SAE.sql}, {label.sql} FROM features_sae s
            LEFT JOIN features_label l ON l.sae_id = s.id WHERE s.id = %(sae)s""",
        ("sae",),
    )
    ((sae, none),) = Query(statement, (SAE, label)).fetch(sae=planted.sae.pk)
    assert none is None
    assert sae.config["k"] == 24
    assert sae.evaluation is None


def kept_plans() -> list[tuple[str, int]]:
    """Statements about features that this connection has prepared, and how often their kept plans
    were used.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT statement, generic_plans FROM pg_prepared_statements WHERE statement ~ "
            "'features_feature'"
        )
        return cursor.fetchall()


def test_a_connection_keeps_the_plan_and_the_plan_knows_its_constants(planted: Any) -> None:
    alive = Statement(
        "alive", "SELECT id FROM features_feature WHERE id = %(id)s AND fires > 0", ("id",)
    )
    row = planted.feature(1)
    for _ in range(7):
        assert fetch(alive, id=row.pk) == [(row.pk,)]
    ((statement, kept),) = kept_plans()
    assert kept == 2, "five plans of its own come first"
    assert "fires > 0" in statement
    assert "$1" in statement
    assert "$2" not in statement


def test_each_call_is_one_query_that_instrumentation_sees(
    planted: Any, django_assert_num_queries: Any
) -> None:
    seen = []

    def noted(execute: Any, sql: str, *rest: Any) -> Any:
        seen.append(sql)
        return execute(sql, *rest)

    with connection.execute_wrapper(noted), django_assert_num_queries(2):
        for _ in range(2):
            fetch(BY_INDEX, index=0)
    assert [sql.startswith("PREPARE") for sql in seen] == [True, False]


def test_nothing_else_is_prepared_and_behind_some_poolers_nothing_at_all(
    planted: Any, settings: Any
) -> None:
    settings.PREPARE = False
    assert fetch(BY_INDEX, index=0)
    assert Feature.objects.filter(index=0)
    assert not kept_plans()
    assert connection.connection.prepare_threshold is None


def test_a_value_that_is_missing_is_named(planted: Any) -> None:
    with pytest.raises(KeyError, match="index"):
        fetch(BY_INDEX, place=1)


def test_a_statement_whose_first_execution_fails_is_usable_afterwards(planted: Any) -> None:
    with pytest.raises(DatabaseError), transaction.atomic():
        fetch(BY_INDEX, index="no number")
    with transaction.atomic():
        with pytest.raises(DatabaseError):
            fetch(BY_INDEX, index="no number")
        with pytest.raises(DatabaseError, match="aborted"):
            fetch(BY_INDEX, index=0)
        transaction.set_rollback(True)
    assert [index for _, index in fetch(BY_INDEX, index=0)] == [0]


@pytest.mark.parametrize("prepare", [True, False])
def test_values_are_values_and_no_sql(planted: Any, settings: Any, prepare: bool) -> None:
    settings.PREPARE = prepare
    strange = Statement(
        "strange",
        "SELECT '100%% of $1 {param text} %%s' FROM features_feature"
        " WHERE \"index\" = 0 AND %(text)s = '; DROP TABLE features_label; --'",
        ("text",),
    )
    assert fetch(strange, text="'; DROP TABLE features_label; --") == []
    assert fetch(strange, text="; DROP TABLE features_label; --") == [
        ("100% of $1 {param text} %s",)
    ]
    assert Label.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_threads_share_it_each_on_its_own_connection() -> None:
    builders.planted()
    indices = {}

    def ask(index: int) -> None:
        indices[index] = [row[1] for row in fetch(BY_INDEX, index=index)]
        connection.close()

    threads = [threading.Thread(target=partial(ask, index)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert indices == {index: [index] for index in range(4)}


@pytest.mark.django_db(transaction=True)
def test_names_are_forgotten_with_their_connection() -> None:
    fetch(BY_INDEX, index=0)
    raw = ref(connection.connection)
    assert raw() in prepared._names
    connection.close()
    fetch(BY_INDEX, index=0)
    assert connection.connection in prepared._names
    gc.collect()
    assert raw() is None
