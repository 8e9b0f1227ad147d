"""Querysets that are compiled once answer as they would anew, for every value, on every
connection.
"""

import threading
from functools import partial
from typing import Any

import pytest
from django.db import connection
from django.db.models import Exists, F, OuterRef

from features.db.prepared import Compiled, Param
from features.models import Example, Feature, Label
from tests import builders


@pytest.fixture
def planted(db: Any) -> builders.Planted:
    return builders.planted()


def test_rows_are_those_of_the_queryset(planted: Any, django_assert_num_queries: Any) -> None:
    rows = Feature.objects.filter(sae__slug=Param("sae"), index__lt=Param("below")).select_related(
        "sae__model"
    )
    rows = rows.annotate(
        seen=Exists(Example.objects.filter(feature=OuterRef("pk"), band=Param("band")))
    )
    compiled = Compiled(rows.order_by("-index"))
    for sae, below, band in (("2-res", 4, 0), ("2-res", 2, 7), ("other", 4, 0)):
        plain = Feature.objects.filter(sae__slug=sae, index__lt=below).order_by("-index")
        band_of = plain.annotate(
            seen=Exists(Example.objects.filter(feature=OuterRef("pk"), band=band))
        )
        with django_assert_num_queries(1):
            found = compiled(sae=sae, below=below, band=band)
            told = [(row.pk, row.histogram, row.sae.model.slug, row.seen) for row in found]  # type: ignore[attr-defined]
        assert told == [(row.pk, row.histogram, row.sae.model.slug, row.seen) for row in band_of]  # type: ignore[attr-defined]


def test_what_is_prefetched_comes_along_and_rows_are_new_each_time(planted: Any) -> None:
    compiled = Compiled(Feature.objects.filter(index=Param("index")).prefetch_related("examples"))
    (first,), (again,) = compiled(index=0), compiled(index=0)
    assert first is not again
    assert [e.rank for e in first.examples.all()] == [
        e.rank for e in Example.objects.filter(feature=first)
    ]


def test_tuples_and_deferred_fields(planted: Any, django_assert_num_queries: Any) -> None:
    pairs = Compiled(
        Feature.objects.filter(index=Param("index")).values_list("index", F("sae__slug"))
    )
    assert pairs(index=2) == [(2, "2-res")]
    (row,) = Compiled(Feature.objects.only("index").filter(index=Param("index")))(index=2)
    fires = Feature.objects.get(index=2).fires
    with django_assert_num_queries(1):
        assert row.fires == fires


def prepared() -> list[tuple[str, int]]:
    """Statements about features that this connection keeps, and how often their kept plans were
    used.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT statement, generic_plans FROM pg_prepared_statements WHERE statement ~ "
            "'features_feature'"
        )
        return cursor.fetchall()


def test_a_connection_keeps_the_plan_and_the_plan_knows_its_constants(planted: Any) -> None:
    compiled = Compiled(Feature.objects.filter(pk=Param("pk"), fires__gt=0))
    row = planted.feature(1)
    for _ in range(7):
        assert compiled(pk=row.pk) == [row]
    ((statement, kept),) = prepared()
    assert kept == 2, "five plans of its own come first"
    assert '"fires" > 0' in statement
    assert "$1" in statement
    assert "$2" not in statement


def test_nothing_else_is_prepared_and_behind_some_poolers_nothing_at_all(
    planted: Any, settings: Any
) -> None:
    settings.PREPARE = False
    assert Compiled(Feature.objects.filter(index=Param("index")))(index=0)
    assert Feature.objects.filter(index=0)
    assert not prepared()
    assert connection.connection.prepare_threshold is None


def test_a_value_that_is_missing_is_named(planted: Any) -> None:
    with pytest.raises(KeyError, match="index"):
        Compiled(Feature.objects.filter(index=Param("index")))(place=1)


def test_values_are_values_and_no_sql(planted: Any) -> None:
    compiled = Compiled(
        Label.objects.filter(text=Param("text")).exclude(text="50% of {param text} '%s'")
    )
    assert compiled(text="'; DROP TABLE features_label; --") == []
    assert Label.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_threads_share_it_each_on_its_own_connection() -> None:
    builders.planted()
    compiled, found = Compiled(Feature.objects.filter(index=Param("index"))), {}

    def ask(index: int) -> None:
        found[index] = [row.index for row in compiled(index=index)]
        connection.close()

    threads = [threading.Thread(target=partial(ask, index)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {index: [index] for index in range(4)}
