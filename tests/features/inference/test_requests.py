"""Questions and answers between website and workers: equal ones are computed once, and nobody waits
for ever.
"""

import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from features.inference import requests as inference_requests
from features.models import InferenceRequest, Worker
from features.records import InvalidInput, WorkerState
from features.services import workers as worker_services

pytestmark = pytest.mark.django_db(transaction=True)
PARAMS = {"kind": "read_feature", "text": "a", "index": 3}


@pytest.fixture(autouse=True)
def listening():
    worker_services.here("a:1", ["inference"], WorkerState("cpu", "0", 1, 1, 1, None, None))


@pytest.fixture
def worker(monkeypatch):
    """A worker that answers every message in a thread of its own, as `answer` says; the keys it
    got.
    """
    keys, threads = [], []

    def at_work(answer=lambda key: inference_requests.store_result(key, {"n": 7})):
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
    assert inference_requests.request(PARAMS) == {"n": 7}
    assert inference_requests.request(dict(reversed(PARAMS.items()))) == {"n": 7}
    assert len(keys) == 1
    inference_requests.request(PARAMS | {"text": "b"})
    assert len(keys) == 2


def test_many_who_ask_the_same_at_once_make_one_question(worker):
    begin = threading.Barrier(5)
    keys, got = worker(), []

    def ask():
        begin.wait()
        got.append(inference_requests.request(PARAMS))
        connection.close()

    asking = [threading.Thread(target=ask) for _ in range(5)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert got == [{"n": 7}] * 5
    assert len(keys) == 1


def test_a_refusal_is_kept_but_a_failure_is_tried_again(worker):
    keys = worker(lambda key: inference_requests.store_error(key, "text", "no"))
    for _ in range(2):
        with pytest.raises(InvalidInput, match="no"):
            inference_requests.request(PARAMS)
    assert len(keys) == 1
    keys = worker(lambda key: inference_requests.store_error(key, "", "broke", passing=True))
    for _ in range(2):
        with pytest.raises(InvalidInput, match="broke"):
            inference_requests.request(PARAMS | {"text": "b"})
    assert len(keys) == 1 + 2
    worker()
    assert inference_requests.request(PARAMS | {"text": "b"}) == {"n": 7}


def test_without_a_worker_it_says_so_and_a_later_asker_sends_again(worker, monkeypatch):
    sent = []
    monkeypatch.setattr(inference_requests, "_send", sent.append)
    for _ in range(2):
        with pytest.raises(inference_requests.NoAnswer, match="/jobs/workers/"):
            inference_requests.request(PARAMS, patience=0.1)
    assert len(sent) == 1
    InferenceRequest.objects.update(sent=timezone.now() - timedelta(minutes=1))
    worker()
    assert inference_requests.request(PARAMS) == {"n": 7}


def test_an_answer_that_came_before_anybody_listened_is_found():
    row = InferenceRequest.objects.create(key="k", params=PARAMS)
    inference_requests.store_result(row.key, {"n": 1})
    assert inference_requests._wait("k", 5).result == {"n": 1}


def test_a_question_is_answered_once():
    InferenceRequest.objects.create(key="k", params=PARAMS)
    assert inference_requests.pending("k") == PARAMS
    inference_requests.store_result("k", {})
    assert inference_requests.pending("k") is None
    assert inference_requests.pending("other") is None


def test_old_questions_are_forgotten():
    InferenceRequest.objects.create(
        key="old", params={}, requested=timezone.now() - timedelta(hours=2)
    )
    InferenceRequest.objects.create(key="new", params={})
    inference_requests.delete_old()
    assert list(InferenceRequest.objects.values_list("key", flat=True)) == ["new"]


def test_the_table_costs_no_log():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relpersistence FROM pg_class WHERE relname = 'features_inferencerequest'"
        )
        assert cursor.fetchone() == ("u",)


def test_where_nobody_listens_nobody_waits():
    Worker.objects.all().delete()
    with pytest.raises(inference_requests.NoAnswer, match="No worker of the queue"):
        inference_requests.request(PARAMS)
