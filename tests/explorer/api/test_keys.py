"""Who calls the API: keys, sessions with CSRF, and how often anyone may ask."""

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from rest_framework.settings import api_settings

from explorer.models import ApiKey, User
from features.models import Job
from tests import builders

pytestmark = pytest.mark.django_db
JOB = {"kind": "add_corpus", "params": {"slug": "python", "source": "python-stdlib"}}


def post(client, path, data, **extra):
    return client.post(f"/api/v1/{path}", data, content_type="application/json", **extra)


def bearer(key):
    return {"HTTP_AUTHORIZATION": f"Bearer {key}"}


def test_a_key_of_staff_starts_a_job_in_their_name(client):
    ada, _ben, _cam = builders.cast()
    _row, key = ApiKey.create(ada, "notebook")
    response = post(client, "jobs/", JOB, **bearer(key))
    assert response.status_code == 201
    assert response.json()["created_by"] == "ada"
    assert response["Location"] == f"/api/v1/jobs/{response.json()['id']}/"


@pytest.mark.parametrize("scheme", ["bearer", "BEARER"])
def test_the_scheme_may_be_written_small_or_large(client, scheme):
    ada, _ben, _cam = builders.cast()
    _row, key = ApiKey.create(ada, "notebook")
    assert post(client, "jobs/", JOB, HTTP_AUTHORIZATION=f"{scheme} {key}").status_code == 201


def test_a_key_of_a_member_may_not_start_jobs(client):
    _ada, ben, _cam = builders.cast()
    response = post(client, "jobs/", JOB, **bearer(ApiKey.create(ben, "x")[1]))
    assert response.status_code == 403
    assert response.json()["error"] == {
        "code": "permission_denied",
        "message": "Only staff may start jobs.",
        "fields": {},
    }
    assert not Job.objects.exists()


def test_nobody_in_particular_is_told_to_send_a_key(client):
    response = post(client, "jobs/", JOB)
    assert response.status_code == 401
    assert response.json()["error"]["code"] == "not_authenticated"
    assert response["WWW-Authenticate"] == "Bearer"


def revoked(key, row, user):
    row.revoke()


def inactive(key, row, user):
    User.objects.filter(pk=user.pk).update(is_active=False)


@pytest.mark.parametrize("end", [revoked, inactive])
def test_a_key_that_ended_is_refused_also_for_reads(client, end):
    ada, _ben, _cam = builders.cast()
    row, key = ApiKey.create(ada, "notebook")
    assert client.get("/api/v1/models/", **bearer(key)).status_code == 200
    end(key, row, ada)
    response = client.get("/api/v1/models/", **bearer(key))
    assert response.status_code == 401
    assert response.json()["error"]["code"] == "authentication_failed"


@pytest.mark.parametrize("key", ["", "x", "fs_" + "a" * 43, "\x00", "é", "a b", "a" * 10_000])
def test_a_wrong_key_is_refused(client, key):
    assert client.get("/api/v1/models/", **bearer(key)).status_code == 401


def test_another_scheme_is_left_to_whoever_wanted_it(client):
    assert client.get("/api/v1/models/", HTTP_AUTHORIZATION="Basic YTpi").status_code == 200


def test_a_session_needs_the_csrf_token_to_write():
    ada, _ben, _cam = builders.cast()
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(ada)
    refused = post(browser, "jobs/", JOB)
    assert refused.status_code == 403
    assert "CSRF" in refused.json()["error"]["message"]
    assert browser.get("/api/v1/jobs/").status_code == 200
    browser.cookies["csrftoken"] = "a" * 32
    assert post(browser, "jobs/", JOB, HTTP_X_CSRFTOKEN="a" * 32).status_code == 201


def rates(settings, **changes):
    settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {"DEFAULT_THROTTLE_RATES": changes}


def test_who_asks_too_often_is_told_when_to_ask_again(client, settings):
    rates(settings, anonymous="2/minute", user="3/minute")
    assert [client.get("/api/v1/models/").status_code for _ in range(3)] == [200, 200, 429]
    response = client.get("/api/v1/models/")
    assert response.json()["error"]["code"] == "throttled"
    assert 1 <= int(response["Retry-After"]) <= 60


def test_users_are_counted_apart_from_addresses_and_from_one_another(client, settings):
    ada, ben, _cam = builders.cast()
    rates(settings, anonymous="1/minute", user="2/minute")
    assert [client.get("/api/v1/models/").status_code for _ in range(2)] == [200, 429]
    for user in (ada, ben):
        key = ApiKey.create(user, "x")[1]
        assert [client.get("/api/v1/models/", **bearer(key)).status_code for _ in range(3)] == [
            200,
            200,
            429,
        ]


def test_a_forged_forwarding_header_gives_no_new_allowance(client, settings):
    assert api_settings.NUM_PROXIES == 0
    rates(settings, anonymous="1/minute", user="1/minute")
    seen = [
        client.get("/api/v1/models/", HTTP_X_FORWARDED_FOR=f"10.0.0.{n}").status_code
        for n in range(2)
    ]
    assert seen == [200, 429]


def test_the_command_prints_a_key_that_works(client, capsys):
    builders.cast()
    call_command("create_api_key", "ada", "--name", "cluster")
    said = capsys.readouterr()
    key = said.out.strip()
    assert ApiKey.objects.get().name == "cluster"
    assert key not in said.err
    assert post(client, "jobs/", JOB, **bearer(key)).status_code == 201


def test_the_command_says_who_is_not_there():
    with pytest.raises(CommandError, match="There is no user “nobody”"):
        call_command("create_api_key", "nobody")
    with pytest.raises(CommandError, match="There is no user"):
        call_command("create_api_key", "a\0b")
    assert not ApiKey.objects.exists()


def test_the_command_refuses_a_user_whose_keys_would_not_work():
    _ada, ben, _cam = builders.cast()
    User.objects.filter(pk=ben.pk).update(is_active=False)
    with pytest.raises(CommandError, match="not active"):
        call_command("create_api_key", "ben")


@pytest.mark.parametrize("name", ["", "  ", "a" * 101, "a\nb", "a\0b"])
def test_the_command_refuses_a_name_that_cannot_be_shown(name):
    builders.cast()
    with pytest.raises(CommandError, match="--name"):
        call_command("create_api_key", "ada", "--name", name)
    assert not ApiKey.objects.exists()
