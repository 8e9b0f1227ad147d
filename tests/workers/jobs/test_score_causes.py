"""The job that measures what features do: their rows, their page, their place in lists."""

import pytest

from features.models import Dashboard, Feature, FeatureEffect, Job
from features.records import InvalidParams
from features.services import jobs as job_services
from tests import builders
from tests.workers import planted_sae
from workers.jobs import runner, score_causes

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _places(settings, tmp_path):
    settings.VAR, settings.ARTIFACTS_URL = tmp_path / "var", str(tmp_path / "artifacts")


@pytest.fixture
def tiny(monkeypatch, llama):
    made = builders.planted()
    monkeypatch.setattr(score_causes.model_cache, "load_model", lambda row: llama)
    monkeypatch.setattr(
        score_causes.model_cache, "load_sae", lambda row: planted_sae.sae("standard", features=8)
    )
    return made


def done(**params):
    job = job_services.start("score_causes", {"sae": "tiny/2-res", "contexts": 2, **params})
    runner.run(job.pk)
    return Job.objects.get(pk=job.pk)


def test_live_features_get_their_roles_and_lists_go_by_them(tiny, client):
    job = done()
    assert job.state == "finished", job.error
    measured = FeatureEffect.objects.count()
    assert job.result["features"] == measured > 0
    assert job.result["features"] + job.result["without enough texts"] == 7, "feature 3 is dead"
    row = FeatureEffect.objects.select_related("feature").first()
    assert row.feature.causal_effect == pytest.approx(row.writes["effect"], rel=1e-5)
    assert row.reads["low"] <= row.reads["difference"] <= row.reads["high"]
    page = client.get(row.feature.get_absolute_url()).content.decode()
    assert "Input role" in page
    assert f"/jobs/{job.pk}/" in page
    first = client.get("/api/v1/features/tiny/2-res/", {"order": "-causal_effect"}).json()[
        "results"
    ][0]
    assert first["index"] == Feature.objects.order_by("-causal_effect", "index").first().index


def test_measuring_again_replaces_what_was_there(tiny):
    done()
    before = {row.feature_id: row.writes for row in FeatureEffect.objects.all()}
    job = done()
    assert {row.feature_id: row.writes for row in FeatureEffect.objects.all()} == before
    assert set(FeatureEffect.objects.values_list("job", flat=True)) == {job.pk}


def test_an_attempt_after_one_that_died_goes_on_where_that_was(tiny, monkeypatch):
    whole = {row.feature_id: row.writes for row in FeatureEffect.objects.filter(job=done())}
    job = job_services.start("score_causes", {"sae": "tiny/2-res", "contexts": 2})
    first = FeatureEffect.objects.order_by("feature")[:2]
    known = {row.feature.index for row in first}
    FeatureEffect.objects.filter(feature__index__in=known).update(job=job)
    asked = []
    monkeypatch.setattr(
        score_causes,
        "_cases",
        lambda sae, live, contexts: asked.extend(live) or CASES(sae, live, contexts),
    )
    runner.run(job.pk)
    job.refresh_from_db()
    assert job.state == "finished", job.error
    assert {*asked} == {0, 1, 2, 4, 5, 6, 7} - known, "3 is dead"
    assert (job.done, job.total, job.result["features"]) == (7, 7, len(whole))
    assert {row.feature_id: row.writes for row in FeatureEffect.objects.filter(job=job)} == whole


CASES = score_causes._cases


def test_a_feature_that_was_not_measured_says_how(client):
    builders.planted()
    assert "manage.py score_causes tiny/2-res" in client.get("/tiny/2-res/0/").content.decode()


def test_an_sae_without_dashboards_is_refused(tiny):
    Dashboard.objects.all().delete()
    with pytest.raises(InvalidParams, match="no dashboards yet"):
        job_services.start("score_causes", {"sae": "tiny/2-res"})
