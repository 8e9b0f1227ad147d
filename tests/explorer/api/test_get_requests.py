"""Reading through the API: the same rows and numbers as the pages, a constant number of queries,
pages by cursor.
"""

from urllib.parse import urlsplit

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from features.ingest import effects as effect_ingest
from features.jobs import events as job_events
from features.jobs import execution as job_execution
from features.jobs import lifecycle
from features.models import Feature
from features.records import EffectRecord, Metrics, RoleRecord
from features.selectors import features as feature_selectors
from features.selectors.feature_columns import ORDERS
from tests import builders

pytestmark = pytest.mark.django_db


@pytest.fixture
def api(client):
    """Get an address below /api/v1/ and return its JSON; the status must be 200."""

    def get(path, **query):
        response = client.get(path if path.startswith("/") else f"/api/v1/{path}", query)
        assert response.status_code == 200, response.content
        return response.json()

    return get


def everything(api, path, **query):
    """Every row of a list, by following `next`."""
    rows, page = [], api(path, **query)
    while True:
        rows += page["results"]
        if page["next"] is None:
            return rows
        address = urlsplit(page["next"])
        page = api(f"{address.path}?{address.query}")


def queries(client, path):
    """How many queries a request needs besides the one that counts it for the rate limit."""
    with CaptureQueriesContext(connection) as seen:
        assert client.get(path).status_code == 200
    rate_limit = [query for query in seen if "explorer_ratelimit" in str(query["sql"])]
    assert len(rate_limit) == 1
    return len(seen) - 1


def test_models_say_what_they_are_and_how_many_saes_they_have(api):
    planted = builders.planted()
    builders.sae(planted.model, "3-res")
    (model,) = api("models/")["results"]
    assert model == api("models/tiny/")
    assert (model["slug"], model["layers"], model["sae_count"], model["shown_count"]) == (
        "tiny",
        4,
        2,
        1,
    )
    assert model["hooks"] == planted.model.hooks
    assert model["hook_refusals"] == {}
    assert model["url"] == "/tiny/"


def test_corpora_are_listed(api):
    builders.planted()
    (corpus,) = api("corpora/")["results"]
    assert corpus["slug"] == "tiny-stories"
    assert corpus["licence"] == "CC0-1.0"


def test_saes_can_be_narrowed_to_a_model(api):
    builders.planted()
    builders.planted(slug="other")
    assert [(sae["model"], sae["slug"]) for sae in api("saes/")["results"]] == [
        ("other", "2-res"),
        ("tiny", "2-res"),
    ]
    (sae,) = api("saes/", model="other")["results"]
    assert sae == api("saes/other/2-res/")


def test_an_sae_names_what_its_features_were_made_from(api):
    planted = builders.planted()
    provenance = api("saes/tiny/2-res/")["provenance"]
    assert provenance["corpus"] == "tiny-stories"
    assert provenance["tokens"] == planted.dashboard.tokens
    assert provenance["alive"] == 7
    assert provenance["sae_sha256"] == planted.sae.sha256
    assert provenance["model_revision"] == planted.model.revision


def test_an_sae_without_dashboards_says_so(api):
    builders.sae(builders.model())
    sae = api("saes/tiny/2-res/")
    assert sae["provenance"] is None
    assert sae["corpus"] is None
    assert api("features/tiny/2-res/") == {"next": None, "results": []}


def test_features_can_be_ordered_and_filtered(api):
    builders.planted()
    rows = api("features/tiny/2-res/", order="-density")["results"]
    densities = [row["density"] for row in rows]
    assert densities == sorted(densities, reverse=True)
    middle = densities[3]
    assert {r["index"] for r in api("features/tiny/2-res/", density_min=middle)["results"]} == {
        r["index"] for r in rows if r["density"] >= middle
    }
    assert {r["index"] for r in api("features/tiny/2-res/", density_max=middle)["results"]} == {
        r["index"] for r in rows if r["density"] <= middle
    }
    assert [r["index"] for r in api("features/tiny/2-res/", alive="false")["results"]] == [3]
    assert len(api("features/tiny/2-res/", alive="true")["results"]) == 7


def test_a_listed_feature_shows_the_words_around_its_peak(api):
    builders.planted()
    first, _self, _script, dead, *_ = api("features/tiny/2-res/")["results"]
    assert [span["text"] for span in first["snippet"] if span["peak"]] == [" day"]
    assert dead["snippet"] == []
    assert dead["alive"] is False


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("limit", [1, 3, 7, 200])
def test_pages_hold_every_feature_once_and_in_order(api, order, limit):
    planted = builders.planted(20)  # with ties: the dead ones all have a density of 0
    rows = everything(api, "features/tiny/2-res/", order=order, limit=limit)
    key, falls = order.lstrip("-"), order.startswith("-")
    expected = sorted(
        Feature.objects.filter(sae=planted.sae),
        key=lambda f: (-getattr(f, key) if falls else getattr(f, key), f.index),
    )
    assert [row["index"] for row in rows] == [feature.index for feature in expected]


def test_a_feature_has_everything_that_its_page_reads(api):
    builders.planted()
    feature, view = api("features/tiny/2-res/0/"), feature_selectors.feature("tiny", "2-res", 0)
    row = view.feature
    for name in (
        "fires",
        "density",
        "max_activation",
        "mean_activation",
        "decoder_norm",
        "encoder_decoder_cosine",
    ):
        assert feature[name] == getattr(row, name)
    assert feature["histogram"] == {
        "counts": row.histogram,
        "low": 0.0,
        "high": row.histogram_width * 64,
    }
    assert feature["logit_histogram"]["counts"] == row.logit_histogram
    assert [(n["index"], n["both"]) for n in feature["nearest"]] == list(
        zip(row.nearest, row.nearest_both, strict=True)
    )
    assert feature["cofiring"] == [
        {"index": i, "jaccard": jaccard, "both": both} for i, jaccard, both in view.cofiring
    ]
    assert (feature["previous"], feature["next"]) == (None, 1)
    assert [band["number"] for band in feature["bands"]] == [band.number for band in view.bands]
    assert feature["provenance"]["corpus"] == "tiny-stories"


def test_a_feature_tells_what_changing_it_does_once_it_was_measured(api):
    planted = builders.planted()
    assert api("features/tiny/2-res/0/")["effect"] is None
    reads = RoleRecord(0.5, 0.25, -1.0, 0.125, 0.0, 0.0, 0.375, 0.25, 0.5, 1.5, 8)
    effect_ingest.write(
        planted.sae, [EffectRecord(0, reads, reads._replace(effect=2.5), [258])], None
    )
    told = api("features/tiny/2-res/0/")
    assert told["effect"]["reads"] == reads._asdict()
    assert (told["effect"]["promoted"], told["effect"]["job_id"]) == (["day"], None)
    assert (told["causal_effect"], told["best_dose"]) == (2.5, None)


def test_a_features_tokens_are_told_as_they_are(api):
    builders.planted()
    logits = api("features/tiny/2-res/0/")["top_logits"]
    assert [(row["token_id"], row["text"]) for row in logits[:3]] == [
        (257, " One"),
        (258, " day"),
        (259, " a"),
    ]


def test_an_example_is_told_by_token_ids_and_sparse_values(api):
    builders.planted()
    top = api("features/tiny/2-res/7/")["bands"][0]["examples"][0]  # fires on the last byte of é
    assert top["token_ids"] == builders.encode(builders.TEXTS[2])
    ends = [place for place, token in enumerate(top["token_ids"]) if token == "é".encode()[-1] + 1]
    assert top["positions"] == ends
    assert len(top["values"]) == len(top["positions"])
    (peak,) = [span for span in top["tokens"] if span["peak"]]
    assert (peak["text"], len(peak["token_ids"])) == ("é", 2)
    assert "".join(span["text"] for span in top["tokens"]) == builders.SPECIAL + builders.TEXTS[2]


def test_kinds_come_from_the_forms(api):
    kinds = {kind["kind"]: kind for kind in api("kinds/")["results"]}
    assert {
        "train_sae",
        "compute_dashboards",
        "evaluate_sae",
        "add_model",
        "add_corpus",
    } <= kinds.keys()
    settings = {setting["name"]: setting for setting in kinds["train_sae"]["settings"]}
    width = settings["width"]
    assert (width["type"], width["default"], width["minimum"], width["required"]) == (
        "integer",
        2048,
        1,
        False,
    )
    assert settings["model"]["required"] is True
    assert settings["then"]["type"] == "boolean"
    assert "topk" in [choice["value"] for choice in settings["architecture"]["choices"]]
    assert all(setting["help"] for setting in settings.values())


def test_a_jobs_events_can_be_followed_by_cursor(api):
    job = job_execution.claim(lifecycle.create("add_corpus", {"slug": "a"}).pk, "here")
    for step in range(5):
        job_events.metrics(job.pk, Metrics(step, {"loss": 1.0 / (step + 1)}))
    job_events.log(job.pk, "Half way.")
    rows = everything(api, f"jobs/{job.pk}/events/", limit=2)
    assert [row["kind"] for row in rows] == ["state", "state", *["metrics"] * 5, "log"]
    assert rows[3]["data"] == {"step": 1, "values": {"loss": 0.5}}
    assert api(f"jobs/{job.pk}/events/", after=rows[-2]["id"])["results"] == [rows[-1]]
    assert api(f"jobs/{job.pk}/events/", after=rows[-1]["id"]) == {"next": None, "results": []}
    assert api(f"jobs/{job.pk}/events/", kind="log")["results"] == [rows[-1]]


def test_jobs_are_listed_newest_first_and_filtered(api):
    first, second = (
        lifecycle.create("add_corpus", {"slug": "a"}),
        lifecycle.create("add_model", {"slug": "b"}),
    )
    lifecycle.cancel(first.pk)
    assert [job["id"] for job in api("jobs/")["results"]] == [second.pk, first.pk]
    assert [job["id"] for job in api("jobs/", state="cancelled")["results"]] == [first.pk]
    assert [job["id"] for job in api("jobs/", kind="add_model")["results"]] == [second.pk]
    assert api(f"jobs/{second.pk}/")["params"] == {"slug": "b"}


def plant_many(count):
    for number in range(count):
        planted = builders.planted(slug=f"tiny-{number}", width=8)
        lifecycle.create("add_corpus", {"slug": f"c{number}"})
    return planted


@pytest.mark.parametrize("path", ["models/", "corpora/", "saes/", "jobs/"])
def test_lists_cost_the_same_for_10_and_20_rows(client, path):
    plant_many(10)
    few = queries(client, f"/api/v1/{path}")
    for number in range(10, 20):
        builders.planted(slug=f"tiny-{number}", width=1)
        lifecycle.create("add_corpus", {"slug": f"c{number}"})
    assert queries(client, f"/api/v1/{path}") == few <= 2


def test_features_cost_the_same_for_10_and_20_rows(client):
    builders.planted(width=10)
    builders.planted(slug="wide", width=20)
    few = queries(client, "/api/v1/features/tiny/2-res/")
    assert queries(client, "/api/v1/features/wide/2-res/") == few == 4
    assert queries(client, "/api/v1/features/wide/2-res/0/") == 5


def test_a_jobs_events_cost_the_same_however_many(client):
    job = job_execution.claim(lifecycle.create("add_corpus", {"slug": "a"}).pk, "here")
    few = queries(client, f"/api/v1/jobs/{job.pk}/events/")
    for step in range(20):
        job_events.metrics(job.pk, Metrics(step, {"loss": 1.0}))
    assert queries(client, f"/api/v1/jobs/{job.pk}/events/") == few == 2
