"""Every column takes any text of Python, and every lookup can be asked with one."""

import pytest
from django.db import connection

from features.db.any_text import storable
from features.ingest.dashboards import copy_rows
from features.jobs import events
from features.models import Corpus, Job, JobEvent, WordList

ANY = "a\0b \ud83d 🧠 \\u0000"
STORED = "a\ufffdb \ufffd 🧠 \\u0000"

pytestmark = pytest.mark.django_db


def test_a_text_without_such_characters_is_the_same_object():
    for text in ("plain", "日本 🧠", ""):
        assert storable(text) is text


def test_columns_of_text_json_and_lists_take_any_text():
    row = Corpus.objects.create(slug="c", source=ANY, revision="", note=ANY)
    words = WordList.objects.create(slug="w", entries=[ANY, "b"])
    job = Job.objects.create(kind="label_sae", params={ANY: [ANY, {"deep": ANY}], "n": 1.5})
    events.add_event(job.pk, JobEvent.Kind.LOG, {"text": ANY}, ANY)
    logged = JobEvent.objects.get(job=job, kind=JobEvent.Kind.LOG)
    for stored in (row, words, job):
        stored.refresh_from_db()
    assert (logged.data, logged.by) == ({"text": STORED}, STORED)
    assert row.source == row.note == STORED
    assert words.entries == [STORED, "b"]
    assert job.params == {STORED: [STORED, {"deep": STORED}], "n": 1.5}


def test_many_rows_and_copies_take_any_text():
    Corpus.objects.bulk_create([Corpus(slug=slug, source=ANY, revision="") for slug in "ab"])
    columns = '"slug", "source", "revision"'
    copy_rows("features_corpus", columns, ["varchar", "varchar", "varchar"], [("c", ANY, ANY)])
    assert set(Corpus.objects.values_list("source", flat=True)) == {STORED}


def test_lookups_and_sql_can_be_asked_with_any_text():
    assert not Corpus.objects.filter(source__icontains=ANY, slug__in=[ANY]).exists()
    assert not Job.objects.filter(params__contains={"a": ANY}).exists()
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::text, %s = ANY(%s)", [ANY, ANY, [ANY]])
        assert cursor.fetchone() == (STORED, True)
