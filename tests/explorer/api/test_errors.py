"""Whatever comes in, an answer in one shape goes out, and never a 500."""

import itertools
import json
from urllib.parse import quote

import pytest
from django.db import OperationalError
from django.test import Client

from explorer.models import ApiKey
from features.jobs import lifecycle
from features.models import Job
from tests import builders

pytestmark = pytest.mark.django_db

NASTY = [
    "",
    " ",
    "0",
    "-1",
    "1e999",
    "NaN",
    "inf",
    "-0.0",
    str(2**31),
    str(2**63),
    str(2**64),
    "9" * 5000,
    "1.5",
    "٣",
    "true",
    "null",
    "\0",
    "a\0b",
    "%00",
    "%",
    "%zz",
    "../..",
    "..",
    ".",
    "//",
    "\\",
    "'",
    "'; DROP TABLE features_feature; --",
    "<script>alert(1)</script>",
    "{{7*7}}",
    "é",
    "日本",
    "\u202e\u2066",
    "🦊" * 50,
    "\ud800",
    "\r\nX-Injected: 1",
    "a" * 3000,
    "[]",
    "{}",
    "index,density",
    "-",
    "--index",
    "pk",
    "sae__model__slug",
]
PARAMETERS = {
    "models/": ["limit", "cursor"],
    "saes/": ["model"],
    "features/tiny/2-res/": ["order", "density_min", "density_max", "alive", "limit", "cursor"],
    "jobs/": ["kind", "state"],
    "jobs/{job}/events/": ["after", "kind", "limit"],
}


@pytest.fixture(autouse=True)
def no_rate_limits(settings):
    settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {
        "DEFAULT_THROTTLE_RATES": {"anonymous": None, "user": None}
    }


@pytest.fixture
def quiet():
    """A client that gets the 500 that a browser would get, rather than the exception."""
    return Client(raise_request_exception=False)


@pytest.fixture
def staff(quiet):
    ada, _ben, _cam = builders.cast()
    key = ApiKey.create(ada, "test")[1]

    def post(path, data, content_type="application/json"):
        return quiet.post(
            f"/api/v1/{path}", data, content_type=content_type, HTTP_AUTHORIZATION=f"Bearer {key}"
        )

    return post


def error(response, status):
    """The error's code, after checking that it has the one shape."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/json"
    body = response.json()
    assert body.keys() == {"error"}
    assert body["error"].keys() == {"code", "message", "fields"}
    assert body["error"]["message"]
    assert all(
        isinstance(sentence, str)
        for texts in body["error"]["fields"].values()
        for sentence in texts
    )
    return body["error"]["code"]


def known(response):
    """Nothing but a page, a row or an error in the one shape."""
    assert response.status_code in {200, 301, 400, 404}, response.content
    if response.status_code in {400, 404}:
        error(response, response.status_code)
    return response.status_code


@pytest.mark.parametrize(
    "path",
    [
        "",
        "v1/",
        "v2/models/",
        "v1/nothing/",
        "v1/models/a/b/",
        "v1/jobs/x/",
        "v1/features/tiny/2-res/x/",
    ],
)
@pytest.mark.parametrize("method", ["get", "post", "delete"])
def test_a_path_that_is_no_address(quiet, path, method):
    assert error(getattr(quiet, method)(f"/api/{path}"), 404) == "not_found"


def test_a_missing_slash_is_added_for_reads_only(quiet, staff):
    response = quiet.get("/api/v1/features/tiny/2-res?order=density")
    assert (response.status_code, response["Location"]) == (
        301,
        "/api/v1/features/tiny/2-res/?order=density",
    )
    assert error(staff("jobs", {"kind": "add_corpus", "params": {}}), 404) == "not_found"
    assert error(quiet.get("/api/v1/nothing", follow=True), 404) == "not_found"


@pytest.mark.parametrize(
    ("path", "noun"),
    [
        ("models/absent/", "model “absent”"),
        ("saes/tiny/absent/", "SAE “tiny/absent”"),
        ("saes/absent/2-res/", "SAE “absent/2-res”"),
        ("saes/?model=absent", "model “absent”"),
        ("features/tiny/absent/", "SAE “tiny/absent”"),
        ("features/tiny/2-res/8/", "feature “tiny/2-res/8”"),
        (f"features/tiny/2-res/{2**63}/", "feature"),
        ("jobs/1000000/", "job “1000000”"),
        (f"jobs/{10**30}/events/", "job"),
    ],
)
def test_what_is_not_there_is_named(quiet, path, noun):
    builders.planted()
    response = quiet.get(f"/api/v1/{path}")
    assert error(response, 404) == "not_found"
    assert noun in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("order=loudness", "order"),
        ("density_min=a", "density_min"),
        ("density_min=nan", "density_min"),
        ("density_max=inf", "density_max"),
        ("density_min=-0.1", "density_min"),
        ("density_max=1.1", "density_max"),
        ("density_min=0.5&density_max=0.1", "density_min"),
        ("alive=maybe", "alive"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=99999999999999999999", "limit"),
        ("cursor=x", "cursor"),
        ("densty_min=0.1", "densty_min"),
    ],
)
def test_a_wrong_parameter_is_named(quiet, query, field):
    builders.planted()
    response = quiet.get(f"/api/v1/features/tiny/2-res/?{query}")
    assert error(response, 400) == "invalid"
    assert list(response.json()["error"]["fields"]) == [field]


@pytest.mark.parametrize(
    "path", ["models/tiny/", "kinds/", "saes/tiny/2-res/", "features/tiny/2-res/0/"]
)
def test_an_address_without_parameters_refuses_them(quiet, path):
    builders.planted()
    assert error(quiet.get(f"/api/v1/{path}?limit=1"), 400) == "invalid"


def test_a_cursor_is_only_good_for_its_own_list(quiet):
    builders.planted()
    builders.planted(slug="other")
    whole = quiet.get("/api/v1/features/tiny/2-res/?limit=3&order=density").json()["next"]
    assert quiet.get(whole).status_code == 200
    assert quiet.get(whole.replace("limit=3", "limit=5")).status_code == 200
    for other in (
        whole.replace("tiny", "other"),
        whole.replace("order=density", "order=index"),
        whole.replace("order=density", "order=-density"),
        f"{whole}&alive=true",
        whole.replace("features/tiny/2-res", "saes").replace("&order=density", ""),
        whole[:-1],
        f"{whole}x",
        whole.replace("cursor=", "cursor=x"),
    ):
        assert error(quiet.get(other), 400) == "invalid", other


def test_too_many_parameters(quiet):
    assert (
        error(quiet.get("/api/v1/models/?" + "&".join(f"a{n}=1" for n in range(2000))), 400)
        == "bad_request"
    )


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete", "trace"])
def test_a_method_that_the_address_lacks(quiet, method):
    response = getattr(quiet, method)("/api/v1/models/")
    assert error(response, 405) == "method_not_allowed"
    assert response["Allow"] == "GET, HEAD, OPTIONS"


def test_options_of_an_address_says_what_it_allows(quiet):
    response = quiet.options("/api/v1/models/")
    assert (response.status_code, response.content) == (204, b"")
    assert response["Allow"] == "GET, HEAD, OPTIONS"


def test_a_format_other_than_json(quiet):
    assert (
        error(quiet.get("/api/v1/models/", HTTP_ACCEPT="application/xml"), 406) == "not_acceptable"
    )


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "",
        "nonsense",
    ],
)
def test_a_body_that_is_not_json_by_name(staff, content_type):
    assert error(staff("jobs/", "kind=add_model", content_type), 415) == "unsupported_media_type"


@pytest.mark.parametrize(
    "body",
    [
        "{",
        "nothing",
        b"\xff\xfe",
        b"\x00",
        "[" * 100_000,
        '{"kind": NaN}',
        '{"kind": Infinity}',
        '{"kind": "\\ud800"}',
        '{"\\udfff": 1}',
        '{"kind": ' + "9" * 5000 + "}",
        "{'kind': 1}",
        '{"kind": "a"} {}',
    ],
)
def test_a_body_that_is_not_json_in_fact(staff, body):
    assert error(staff("jobs/", body), 400) == "parse_error"


def test_a_body_that_is_too_large(staff, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    assert error(staff("jobs/", json.dumps({"kind": "a" * 200})), 413) == "too_large"


def test_a_host_that_is_not_ours(quiet):
    assert error(quiet.get("/api/v1/models/", HTTP_HOST="elsewhere.example"), 400) == "bad_request"


def test_a_fault_before_any_view(quiet, monkeypatch):
    monkeypatch.setattr(
        "django.middleware.common.CommonMiddleware.process_request", lambda *_: 1 / 0
    )
    assert error(quiet.get("/api/v1/models/"), 500) == "server_error"


def test_a_fault_of_ours_tells_nothing_and_is_logged(quiet, monkeypatch, caplog):
    from features.selectors import catalog as catalog_selectors

    def broken():
        raise RuntimeError("the secret is 42")

    monkeypatch.setattr(catalog_selectors, "corpora", broken)
    response = quiet.get("/api/v1/corpora/")
    assert error(response, 500) == "server_error"
    assert "42" not in response.content.decode()
    assert "the secret is 42" in caplog.text


def test_a_database_that_is_away_is_a_503_that_says_when_to_come_back(quiet, monkeypatch):
    from features.selectors import catalog as catalog_selectors

    def away(*_):
        raise OperationalError("couldn't get a connection after 5.00 sec")

    for name in ("corpora", "saes_with_labels"):
        monkeypatch.setattr(catalog_selectors, name, away)
    page, told = quiet.get("/"), quiet.get("/api/v1/corpora/")
    assert error(told, 503) == "unavailable"
    assert page.status_code == 503
    assert "The database is not responding" in page.content.decode()
    assert page["Retry-After"] == told["Retry-After"] == "5"
    assert "5.00 sec" not in page.content.decode() + told.content.decode()


def in_address(value):
    return quote(str(value).encode("utf-8", "surrogatepass"), safe="")


@pytest.mark.parametrize(
    "path",
    [
        "{}/",
        "models/{}/",
        "saes/{}/2-res/",
        "saes/tiny/{}/",
        "features/{}/{}/",
        "features/tiny/2-res/{}/",
        "jobs/{}/events/",
    ],
)
def test_no_value_in_a_path_breaks_anything(quiet, path):
    builders.planted()
    for value in NASTY:
        known(quiet.get(f"/api/v1/{path.replace('{}', in_address(value))}"))


@pytest.mark.parametrize(("path", "names"), PARAMETERS.items())
def test_no_value_in_a_query_breaks_anything(quiet, path, names):
    builders.planted(width=2)
    path = path.replace("{job}", str(lifecycle.create("add_corpus", {}).pk))
    for value, name in itertools.product(NASTY, names):
        known(quiet.get(f"/api/v1/{path}?{name}={in_address(value)}"))
    for value in NASTY:
        known(quiet.get(f"/api/v1/{path}?{in_address(value)}=1"))


def test_no_value_in_a_body_breaks_anything_or_leaves_a_row(staff):
    builders.planted()
    train = {
        "model": "tiny",
        "slug": "new",
        "corpus": "tiny-stories",
        "hook": "blocks.2.hook_resid_post",
    }
    for value in [*NASTY, 0, -1, 2**64, 1e308, True, None, [], {}, [[]], {"a": {"b": []}}]:
        bodies = [value, {"kind": value}, {"kind": "train_sae", "params": {str(value): value}}]
        bodies += [
            {"kind": "train_sae", "params": train | {name: value}} for name in ("slug", "width")
        ]
        for body in bodies:
            response = staff("jobs/", json.dumps(body))
            if response.status_code == 201:  # what the form may take: a number as text
                assert str(value) in str(Job.objects.first().params)
                Job.objects.all().delete()
            else:
                error(response, 400)
                assert not Job.objects.exists()
