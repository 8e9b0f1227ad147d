"""docs/api.md is true: it names every address and parameter, and its examples run as they are
written.
"""

import json
import re
import shlex
from pathlib import Path

import pytest
from django.conf import settings

from explorer.models import ApiKey
from features.models import Job
from tests import builders

GUIDE = (Path(__file__).resolve().parents[3] / "docs" / "api.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)


def operations(client):
    for path, methods in client.get("/api/v1/schema/").json()["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


@pytest.mark.django_db
def test_it_names_every_address_and_no_other(client):
    rows = re.findall(
        r"^\| `((?:GET|POST|PUT|PATCH|DELETE) /api/\S+?)(?:\?\S*)?` \|", GUIDE, re.MULTILINE
    )
    served = {name for name, _ in operations(client)} | {"GET /api/v1/schema/", "GET /api/docs/"}
    assert len(rows) == len(set(rows))
    assert set(rows) == served


@pytest.mark.django_db
def test_it_names_every_parameter(client):
    for name, operation in operations(client):
        for parameter in (p for p in operation.get("parameters", []) if p["in"] == "query"):
            assert f"`{parameter['name']}`" in GUIDE, f"{parameter['name']} of {name}"


@pytest.mark.django_db
def test_its_shell_examples_run(client):
    builders.planted()
    ada, _ben, _cam = builders.cast()
    places = {"$SITE": "", "$KEY": ApiKey.create(ada, "guide")[1]}
    lines = [
        line for block in blocks("sh") for line in block.splitlines() if line.startswith("curl ")
    ]
    assert len(lines) >= 5
    for line in lines:
        for name, value in places.items():
            line = line.replace(name, value)
        _curl, address, *options = shlex.split(line)
        sent = dict(zip(options[::2], options[1::2], strict=True))
        headers = dict(re.findall(r'-H "([^:]+): ([^"]+)"', line))
        if "-d" in sent:
            response = client.post(
                address, sent["-d"], content_type=headers.pop("Content-Type"), headers=headers
            )
            assert response.status_code == 201, response.content
            assert set(Job.objects.values_list("created_by", flat=True)) == {ada.pk}
        else:
            assert client.get(address).status_code == 200, address


@pytest.mark.django_db(transaction=True)
def test_its_python_example_runs(live_server):
    pytest.importorskip("requests")
    planted = builders.planted()
    ada, _ben, _cam = builders.cast()
    (code,) = blocks("python")
    names = {"SITE": live_server.url, "KEY": ApiKey.create(ada, "guide")[1]}
    exec(compile(code, "docs/api.md", "exec"), names)  # the guide is ours
    assert sorted(names["dense"]) == list(range(planted.sae.width)), "all pages were read"
    assert names["text"].startswith(builders.SPECIAL)
    assert names["best"]["value"] == max(names["fired"].values())


@pytest.mark.django_db
def test_its_error_is_what_the_api_answers(client):
    ada, _ben, _cam = builders.cast()
    builders.planted()
    (example,) = blocks("json")
    params = {
        "model": "tiny",
        "slug": "new",
        "corpus": "tiny-stories",
        "hook": "blocks.2.hook_resid_post",
        "width": 0,
    }
    headers = {"Authorization": f"Bearer {ApiKey.create(ada, 'guide')[1]}"}
    body = {"kind": "train_sae", "params": params}
    response = client.post("/api/v1/jobs/", body, content_type="application/json", headers=headers)
    assert response.json() == json.loads(example)


def test_its_limits_are_those_of_the_settings():
    assert f"{settings.API_RATE_ANONYMOUS} requests per minute" in GUIDE
    assert f"{settings.API_RATE_USER:,} per minute" in GUIDE
    assert f"{settings.DATA_UPLOAD_MAX_MEMORY_SIZE / 2**20:g} MiB" in GUIDE
