"""The schema is the contract: it is valid, every address is in it, and every answer is what it
says.
"""

import re
from datetime import datetime

import pytest
from django.core.management import call_command
from django.urls import URLPattern, URLResolver, get_resolver
from jsonschema import Draft202012Validator, FormatChecker, ValidationError

from explorer.models import ApiKey, User
from features.ingest import matches as match_ingest
from features.jobs import events as job_events
from features.jobs import execution as job_execution
from features.jobs import lifecycle
from features.models import Collection, Comment, Label, LabelUpload, Vote, WordList
from features.records import (
    Evaluation,
    FeatureMatches,
    LabelRecord,
    Metrics,
    Progress,
    SaeMatches,
    ScoreRecord,
)
from features.selectors.feature_columns import ORDERS
from features.services import catalog as catalog_services
from features.services import collections as collection_services
from features.services import comments as comment_services
from features.services import labels as label_services
from features.services import uploads as upload_services
from tests import builders

QUERIES = {
    "GET /api/v1/search/tokens/": {"token": "day"},
    "GET /api/v1/search/labels/": {"q": "day"},
}
PLACES = {
    "{model}": "tiny",
    "{sae}": "2-res",
    "{index}": "0",
    "{corpus}": "tiny-stories",
    "{other}": "3-res",
    "{slug}": "animals",
}


FORMATS = FormatChecker()


@FORMATS.checks("date-time", raises=ValueError)
def is_a_time(value):
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


@pytest.fixture
def schema(client, db):
    response = client.get("/api/v1/schema/")
    assert response.status_code == 200
    return response.json()


@pytest.fixture
def rows(db):
    """Something behind every address; the id of a job with every kind of event."""
    planted = builders.planted()
    nearest = FeatureMatches(list(range(8)), [0.5] * 8)
    match_ingest.write(
        planted.sae, builders.sae(planted.model, "3-res"), SaeMatches(nearest, nearest), None
    )
    values = {"l0": 24.0, "explained_variance": 0.83}
    catalog_services.keep_evaluation(
        planted.sae, Evaluation(5000, values, [0, 1, 2]), planted.corpus, None
    )
    ada, ben, _cam = builders.cast()
    label = label_services.propose(planted.feature(0), "the word day", by=ben, weight=1)
    label_services.edit(label, "the word “day”", seen=1, by=ben)
    label_services.vote(label, 1, by=ada, weight=3)
    comment_services.comment(planted.feature(0), "Only after “One”?", by=ada, label=label)
    found = ScoreRecord(
        "concept", 0.8, 0.7, 0.85, 200, balanced_accuracy=0.9, details={"precision": 0.75}
    )
    label_services.write_found(
        planted.sae, "concept", [LabelRecord(0, "“day”", {"concept": "day"}, [found])], None
    )
    upload_services.upload(
        planted.sae, "a.csv", [{"index": 1, "text": "a fox"}], by=ben, weight=1, trusted=False
    )
    WordList.objects.create(slug="animals", entries=["cat", "guinea pig"], owner=ben)
    job = job_execution.claim(lifecycle.create("add_corpus", {"slug": "a"}, by=ada).pk, "here")
    job_execution.write_progress(job, Progress(1, 2, "tokens", "reading"))
    job_events.metrics(job.pk, Metrics(1, {"loss": 0.5}))
    job_events.log(job.pk, "Half way.")
    lifecycle.create("train_sae", {"width": 8}, after=job)
    kept = Collection.objects.create(pk=job.pk, owner=ben, name="Days", public=True)
    collection_services.add(kept, [planted.feature(0).pk, planted.feature(1).pk])
    return job.pk


def operations(schema):
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def strict(node):
    """The same schema, in which an object has no properties but those named."""
    if isinstance(node, list):
        return [strict(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {name: strict(value) for name, value in node.items()}
    if node.get("type") == "object" and "properties" in node:
        node["additionalProperties"] = False
        assert set(node.get("required", [])) == set(node["properties"]), (
            "every property is always there"
        )
    return node


def check(schema, operation, status, value):
    """Raise where `value` is not what `operation` says that it answers with `status`."""
    content = operation["responses"][str(status)]["content"]
    assert list(content) == ["application/json"]
    answers = {
        name: node
        for name, node in schema["components"]["schemas"].items()
        if not name.endswith("Request")
    }
    whole = {**content["application/json"]["schema"], "components": {"schemas": strict(answers)}}
    Draft202012Validator(whole, format_checker=FORMATS).validate(value)


def filled(path, job):
    for name, value in PLACES.items():
        path = path.replace(name, value)
    of = {"labels": Label, "votes": Vote, "comments": Comment, "uploads": LabelUpload}.get(
        path.split("/")[3]
    )
    return path.replace("{id}", str(of.objects.values_list("pk", flat=True).first() if of else job))


def test_the_schema_is_valid_and_made_without_a_warning(tmp_path, db):
    call_command(
        "spectacular", "--validate", "--fail-on-warn", "--file", str(tmp_path / "schema.yml")
    )


def test_every_operation_is_described(schema):
    for name, operation in operations(schema):
        assert operation["description"], name
        assert {"400", "401", "429"} <= operation["responses"].keys(), name
        for status, response in operation["responses"].items():
            if status == "204":
                continue
            content = response["content"]["application/json"]["schema"]
            assert "$ref" in content, f"{name} {status} has no schema of its own"
            if int(status) >= 400:
                assert content["$ref"] == "#/components/schemas/Error"
        for parameter in operation.get("parameters", []):
            assert (
                parameter["in"] == "path"
                or parameter.get("description")
                or "enum" in parameter["schema"]
            ), parameter


def test_every_property_of_every_answer_is_named_by_its_schema(schema):
    loose = {
        name
        for name, node in schema["components"]["schemas"].items()
        if "properties" not in node and "enum" not in node
    }
    assert loose == set()


def test_whoever_reads_needs_no_key_and_whoever_writes_does(schema):
    for name, operation in operations(schema):
        open_to_all = {} in operation["security"]
        assert open_to_all == (
            name.startswith("GET")
            or name in ("POST /api/v1/activations/", "POST /api/v1/effects/", "POST /api/v1/steer/")
        ), name
        assert {"key": []} in operation["security"]


def test_every_answer_is_what_the_schema_says(schema, client, rows):
    called = set()
    for name, operation in operations(schema):
        method, path = name.split()
        if method != "GET":
            continue
        response = client.get(filled(path, rows), QUERIES.get(name))
        assert response.status_code == 200, name
        check(schema, operation, 200, response.json())
        assert response.json().get("results") != [], f"{name} was tried without rows"
        called.add(name)
    assert len(called) >= 11


@pytest.mark.parametrize("change", [{"extra": 1}, {"layers": "four"}, {"created": "yesterday"}])
def test_an_answer_that_strays_from_the_schema_would_be_noticed(schema, client, rows, change):
    told = client.get("/api/v1/models/tiny/").json() | change
    with pytest.raises(ValidationError):
        check(schema, schema["paths"]["/api/v1/models/{model}/"]["get"], 200, told)


@pytest.mark.parametrize("order", ORDERS)
def test_every_feature_is_what_the_schema_says(schema, client, rows, order):
    operation = schema["paths"]["/api/v1/features/{model}/{sae}/{index}/"]["get"]
    for row in client.get("/api/v1/features/tiny/2-res/", {"order": order}).json()["results"]:
        check(
            schema,
            operation,
            200,
            client.get(f"/api/v1{row['url'].replace('/tiny', '/features/tiny')}").json(),
        )


def test_what_writes_answers_as_the_schema_says(schema, client, rows):
    extra = {
        "HTTP_AUTHORIZATION": f"Bearer {ApiKey.create(User.objects.get(username='ada'), 'x')[1]}"
    }
    start = schema["paths"]["/api/v1/jobs/"]["post"]
    body = {"kind": "add_corpus", "params": {"slug": "b", "source": "python-stdlib"}}
    response = client.post("/api/v1/jobs/", body, content_type="application/json", **extra)
    check(schema, start, 201, response.json())
    refused = client.post("/api/v1/jobs/", {}, content_type="application/json", **extra)
    check(schema, start, 400, refused.json())
    cancel = schema["paths"]["/api/v1/jobs/{id}/cancel/"]["post"]
    check(schema, cancel, 200, client.post(f"/api/v1/jobs/{rows}/cancel/", **extra).json())
    check(schema, cancel, 401, client.post(f"/api/v1/jobs/{rows}/cancel/").json())


def test_examples_in_the_schema_are_true_to_it(schema):
    tried = 0
    for _name, operation in operations(schema):
        for status, response in operation["responses"].items():
            for example in (
                response.get("content", {"application/json": {}})["application/json"]
                .get("examples", {})
                .values()
            ):
                check(schema, operation, status, example["value"])
                tried += 1
    assert tried


def test_examples_of_requests_name_settings_that_exist(schema, client):
    kinds = {kind["kind"]: kind for kind in client.get("/api/v1/kinds/").json()["results"]}
    content = schema["paths"]["/api/v1/jobs/"]["post"]["requestBody"]["content"]["application/json"]
    assert len(content["examples"]) == 2
    for example in content["examples"].values():
        settings = {
            setting["name"]: setting for setting in kinds[example["value"]["kind"]]["settings"]
        }
        given = example["value"]["params"].keys()
        assert given <= settings.keys()
        assert {name for name, setting in settings.items() if setting["required"]} <= given


def routes(patterns=None, before=""):
    for pattern in patterns or get_resolver("explorer.api.urls").url_patterns:
        path = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, path)
        elif isinstance(pattern, URLPattern) and not path.startswith(("^", "docs")):
            yield "/api/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", path).replace("{pk}", "{id}")


def test_every_address_is_in_the_schema(schema):
    assert {path for path in routes() if path != "/api/v1/schema/"} == schema["paths"].keys()
