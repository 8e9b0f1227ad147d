"""Writing in the background keeps order, stops at the first error, and leaves nothing behind that
waits.
"""

import threading
import time
from contextlib import closing

import pytest
from django.db import connection

from features.ingest import background
from features.models import Corpus
from tests import builders


def test_it_writes_in_order_while_the_next_is_being_made():
    at_work, seen = threading.Event(), []

    def records():
        yield 0
        assert at_work.wait(5)  # the first is being written while the second is made
        yield 1
        yield 2

    def write(record):
        at_work.set()
        seen.append((record, threading.current_thread() is threading.main_thread()))
        return record * 10

    assert list(background.in_background(write, records())) == [0, 10, 20]
    assert seen == [(0, False), (1, False), (2, False)]


def test_an_error_comes_back_and_nothing_after_it_is_written():
    written = []

    def write(record):
        if record == 1:
            time.sleep(0.05)  # the next one waits already
            raise KeyError("gone")
        written.append(record)

    with pytest.raises(KeyError, match="gone"):
        list(background.in_background(write, range(5), waiting=3))
    assert written == [0]


def test_an_error_while_making_the_next_lets_the_one_at_work_end():
    written = []

    def records():
        yield 0
        raise LookupError("nothing more")

    with pytest.raises(LookupError):
        list(
            background.in_background(
                lambda record: (time.sleep(0.05), written.append(record)), records()
            )
        )
    assert written in ([0], [])  # whole, or not begun
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("writer")]


def test_who_stops_asking_leaves_no_thread_and_nothing_waiting():
    written = []
    with closing(background.in_background(written.append, range(100))) as stream:
        next(stream)
    assert len(written) <= 4
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("writer")]


@pytest.mark.django_db(transaction=True)
def test_it_writes_through_a_connection_of_its_own_which_it_closes():
    backends = []

    def write(slug):
        builders.corpus(slug)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            backends.append(cursor.fetchone()[0])

    list(background.in_background(write, ["one", "two"]))
    assert set(Corpus.objects.values_list("slug", flat=True)) == {"one", "two"}
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        assert backends[0] == backends[1] != cursor.fetchone()[0]
