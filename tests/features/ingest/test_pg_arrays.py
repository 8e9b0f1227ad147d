"""Flat arrays packed for COPY: the bytes are those of psycopg's own dumper, and PostgreSQL reads
the same numbers back.
"""

import struct

import pytest
from django.db import connection
from psycopg.adapt import PyFormat, Transformer
from psycopg.postgres import types
from psycopg.pq import Format
from psycopg.types.numeric import Float4, Int2, Int4, Int8

from features.ingest import pg_arrays

EXTREMES = {
    "int2": [-(2**15), -1, 0, 7, 2**15 - 1],
    "int4": [-(2**31), 5, 2**31 - 1],
    "int8": [-(2**63), 2**40, 2**63 - 1],
    "float4": [-1.5, 0.0, 2.0**-7, float("inf"), 3.25],
}
WRAPPED = {"int2": Int2, "int4": Int4, "int8": Int8, "float4": Float4}


def packed(element, values):
    return pg_arrays.DUMPERS[element](list).dump(values)


@pytest.mark.parametrize("element", EXTREMES)
@pytest.mark.parametrize("repeats", [1, 40])
def test_the_bytes_are_those_of_the_general_dumper(element, repeats):
    values = EXTREMES[element] * repeats
    wrapped = [WRAPPED[element](value) for value in values]
    general = Transformer().get_dumper(wrapped, PyFormat.BINARY).dump(wrapped)
    assert packed(element, values) == general


@pytest.mark.parametrize("element", EXTREMES)
def test_many_are_packed_as_each_alone(element):
    lists = [[], EXTREMES[element], EXTREMES[element][:1], [], EXTREMES[element] * 30]
    assert list(pg_arrays.packed(element, lists)) == [packed(element, one) for one in lists]
    assert list(pg_arrays.packed(element, [])) == []
    ready = pg_arrays.DUMPERS[element](list)
    assert ready.dump(packed(element, EXTREMES[element])) == packed(element, EXTREMES[element])


@pytest.mark.parametrize("element", EXTREMES)
def test_an_empty_array_has_no_dimensions_but_a_type(element):
    assert struct.unpack(">iii", packed(element, [])) == (0, 0, types[element].oid)


@pytest.mark.django_db
@pytest.mark.parametrize("element", EXTREMES)
def test_copy_and_read_back(element):
    rows = [([],), (EXTREMES[element],), (EXTREMES[element] * 30,), (None,)]
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE TEMP TABLE copied (place serial, numbers {element}[]) ON COMMIT DROP"
        )
        pg_arrays.register(cursor.adapters)
        with cursor.copy("COPY copied (numbers) FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types([f"{element}[]"])
            for row in rows:
                copy.write_row(row)
        cursor.execute("SELECT numbers FROM copied ORDER BY place")
        assert cursor.fetchall() == rows


def test_a_number_that_does_not_fit_is_refused():
    with pytest.raises(struct.error):
        packed("int2", [2**15])
    with pytest.raises(OverflowError):
        list(pg_arrays.packed("int2", [[1], [2**15]]))


@pytest.mark.django_db
def test_only_the_cursor_that_asked_packs_so():
    with connection.cursor() as cursor:
        pg_arrays.register(cursor.adapters)
    with connection.cursor() as other:
        oid = types["int2"].array_oid
        assert other.adapters.get_dumper_by_oid(oid, Format.BINARY) is not pg_arrays.DUMPERS["int2"]
