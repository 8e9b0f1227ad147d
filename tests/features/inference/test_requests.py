"""Questions and answers between website and workers: equal ones are computed once, and nobody waits
for ever.
"""

import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from features.inference import requests as inference_requests
from features.models import Answer, Worker
from features.records import InvalidInput, WorkerState
from features.services import workers as worker_services

pytestmark = pytest.mark.django_db(transaction=True)
QUESTION = {"kind": "read_feature", "text": "a", "index": 3}


@pytest.fixture(autouse=True)
def listening():
    worker_services.here("a:1", ["inference"], WorkerState("cpu", "0", 1, 1, 1, None, None))


@pytest.fixture
def worker(monkeypatch):
    """A worker that answers every message in a thread of its own, as `answer` says; the keys it
    got.
    """
    keys, threads = [], []

    def at_work(answer=lambda key: inference_requests.give(key, {"n": 7})):
        def work(key):
            try:
                answer(key)
            finally:
                connection.close()

        def send(key):
            keys.append(key)
            threads.append(threading.Thread(target=work, args=(key,)))
            threads[-1].start()

        monkeypatch.setattr(inference_requests, "_send", send)
        return keys

    yield at_work
    for thread in threads:
        thread.join()


def test_an_answer_comes_and_is_kept(worker):
    keys = worker()
    assert inference_requests.ask(QUESTION) == {"n": 7}
    assert inference_requests.ask(dict(reversed(QUESTION.items()))) == {"n": 7}
    assert len(keys) == 1
    inference_requests.ask(QUESTION | {"text": "b"})
    assert len(keys) == 2


def test_many_who_ask_the_same_at_once_make_one_question(worker):
    begin = threading.Barrier(5)
    keys, got = worker(), []

    def ask():
        begin.wait()
        got.append(inference_requests.ask(QUESTION))
        connection.close()

    asking = [threading.Thread(target=ask) for _ in range(5)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert got == [{"n": 7}] * 5
    assert len(keys) == 1


def test_a_refusal_is_kept_but_a_failure_is_tried_again(worker):
    keys = worker(lambda key: inference_requests.refuse(key, "text", "no"))
    for _ in range(2):
        with pytest.raises(InvalidInput, match="no"):
            inference_requests.ask(QUESTION)
    assert len(keys) == 1
    keys = worker(lambda key: inference_requests.refuse(key, "", "broke", passing=True))
    for _ in range(2):
        with pytest.raises(InvalidInput, match="broke"):
            inference_requests.ask(QUESTION | {"text": "b"})
    assert len(keys) == 1 + 2
    worker()
    assert inference_requests.ask(QUESTION | {"text": "b"}) == {"n": 7}


def test_without_a_worker_it_says_so_and_a_later_asker_sends_again(worker, monkeypatch):
    sent = []
    monkeypatch.setattr(inference_requests, "_send", sent.append)
    for _ in range(2):
        with pytest.raises(inference_requests.NoAnswer, match="/jobs/workers/"):
            inference_requests.ask(QUESTION, patience=0.1)
    assert len(sent) == 1
    Answer.objects.update(asked=timezone.now() - timedelta(minutes=1))
    worker()
    assert inference_requests.ask(QUESTION) == {"n": 7}


def test_an_answer_that_came_before_anybody_listened_is_found():
    row = Answer.objects.create(key="k", question=QUESTION)
    inference_requests.give(row.key, {"n": 1})
    assert inference_requests._wait("k", 5).result == {"n": 1}


def test_a_question_is_answered_once():
    Answer.objects.create(key="k", question=QUESTION)
    assert inference_requests.question("k") == QUESTION
    inference_requests.give("k", {})
    assert inference_requests.question("k") is None
    assert inference_requests.question("other") is None


def test_old_questions_are_forgotten():
    Answer.objects.create(key="old", question={}, asked=timezone.now() - timedelta(hours=2))
    Answer.objects.create(key="new", question={})
    inference_requests.forget()
    assert list(Answer.objects.values_list("key", flat=True)) == ["new"]


def test_the_table_costs_no_log():
    with connection.cursor() as cursor:
        cursor.execute("SELECT relpersistence FROM pg_class WHERE relname = 'features_answer'")
        assert cursor.fetchone() == ("u",)


def test_where_nobody_listens_nobody_waits():
    Worker.objects.all().delete()
    with pytest.raises(inference_requests.NoAnswer, match="No worker of the queue"):
        inference_requests.ask(QUESTION)
