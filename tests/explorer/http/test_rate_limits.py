"""Rate limits: every process counts in the same place, and no concurrent request is missed."""

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connection
from django.test import Client

from explorer.forms.accounts import MAX_SIGN_IN_ATTEMPTS
from explorer.http import rate_limits
from explorer.models import ApiKey, RateLimit, User
from tests import builders


def at_once(count, act):
    """What `act` returns in `count` threads that begin together, each with its own connection."""
    barrier = Barrier(count)

    def run(_):
        try:
            barrier.wait()
            return act()
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


@pytest.mark.django_db
def test_names_are_counted_apart():
    assert [rate_limits.increment("a", 60).number for _ in range(3)] == [1, 2, 3]
    assert rate_limits.increment("b", 60).number == 1
    rate_limits.reset("a")
    assert rate_limits.increment("a", 60).number == 1
    assert rate_limits.increment("b", 60).number == 2


@pytest.mark.django_db
def test_a_period_begins_with_its_first_count_and_ends():
    first = rate_limits.increment("a", 0.2)
    second = rate_limits.increment("a", 0.2)
    assert (first.number, second.number) == (1, 2)
    assert 0 < second.seconds < first.seconds <= 0.2
    time.sleep(0.2)
    assert rate_limits.increment("a", 0.2).number == 1


@pytest.mark.django_db
def test_the_table_names_nobody_and_forgets_what_has_ended():
    for address in ("192.0.2.1", "192.0.2.2"):
        rate_limits.increment(f"sign-in {address} ada", 0.01)
    assert not any("192" in key or "ada" in key for key in RateLimit.objects.values_list("key"))
    time.sleep(0.02)
    rate_limits.increment("another", 60)
    assert RateLimit.objects.count() == 1


@pytest.mark.django_db
def test_a_count_waits_for_no_disk():
    with connection.cursor() as cursor:
        cursor.execute("SELECT relpersistence FROM pg_class WHERE relname = 'explorer_ratelimit'")
        assert cursor.fetchone() == ("u",)


@pytest.mark.django_db(transaction=True)
def test_connections_count_together_and_miss_nothing():
    numbers = at_once(8, lambda: [rate_limits.increment("a", 60).number for _ in range(25)])
    assert sorted(number for thread in numbers for number in thread) == list(range(1, 201))


@pytest.mark.django_db(transaction=True)
def test_requests_at_once_get_no_more_from_the_api_than_the_rate(settings):
    settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {
        "DEFAULT_THROTTLE_RATES": {"anonymous": "3/minute", "user": "5/minute"}
    }
    _, ben, _ = builders.cast()
    key = {"HTTP_AUTHORIZATION": f"Bearer {ApiKey.create(ben, 'test')[1]}"}
    visitors = at_once(8, lambda: Client().get("/api/v1/models/").status_code)
    users = at_once(8, lambda: Client().get("/api/v1/models/", **key).status_code)
    assert sorted(visitors) == [200] * 3 + [429] * 5
    assert sorted(users) == [200] * 5 + [429] * 3


@pytest.mark.django_db(transaction=True)
def test_wrong_passwords_at_once_are_looked_at_no_more_often_than_one_by_one():
    User.objects.create_user("ben", password="ben-password-1")
    data = {"username": "ben", "password": "wrong"}

    def sign_in():
        return "Too many attempts" in Client().post("/accounts/login/", data).content.decode()

    assert sum(at_once(MAX_SIGN_IN_ATTEMPTS + 4, sign_in)) == 4


@pytest.mark.django_db
def test_a_missing_password_forgives_no_wrong_ones(client):
    User.objects.create_user("ben", password="ben-password-1")
    for password in ["wrong"] * MAX_SIGN_IN_ATTEMPTS + [""]:
        client.post("/accounts/login/", {"username": "ben", "password": password})
    right = {"username": "ben", "password": "ben-password-1"}
    assert "Too many attempts" in client.post("/accounts/login/", right).content.decode()
