"""The job that makes a map: from the dashboards' live features to their places, or a reason why
not.
"""

from types import SimpleNamespace

import pytest
import torch

from features.models import Dashboard, Feature, Job, JobEvent
from features.records import InvalidParams
from features.services import jobs as job_services
from tests import builders
from workers.jobs import map_sae, runner

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _places(settings, tmp_path):
    settings.VAR, settings.ARTIFACTS_URL = tmp_path / "var", str(tmp_path / "artifacts")


@pytest.fixture
def planted(monkeypatch):
    """Forty features, five of them dead, on a decoder of random rows; their planted map is taken
    away.
    """
    made = builders.planted(width=40)
    torch.manual_seed(0)
    weights = SimpleNamespace(W_dec=torch.randn(40, 16))
    monkeypatch.setattr(map_sae.model_cache, "load_sae", lambda sae: weights)
    Dashboard.objects.update(map=None)
    Feature.objects.update(map_x=None, map_y=None, cluster=None)
    return made


def done(job: Job) -> Job:
    runner.run(job.pk)
    return Job.objects.get(pk=job.pk)


def test_every_live_feature_gets_its_place(planted):
    job = done(job_services.start("map_sae", {"sae": "tiny/2-res", "seed": 3}))
    assert (job.state, job.result["features"]) == ("finished", 35), job.error
    assert not Feature.objects.filter(fires=0, map_x__isnull=False).exists()
    assert not Feature.objects.filter(fires__gt=0, map_x__isnull=True).exists()
    shown = Dashboard.objects.get()
    assert (shown.mapped_by, shown.map["seed"], shown.map["neighbours"]) == (job, 3, 15)
    assert shown.map["clusters"] == len(
        set(Feature.objects.exclude(cluster=None).values_list("cluster", flat=True))
    )


def test_too_few_live_features_finish_with_an_empty_map_that_says_so(planted):
    Feature.objects.filter(index__gte=10).update(fires=0)
    job = done(job_services.start("map_sae", {"sae": "tiny/2-res"}))
    assert (job.state, job.result["features"]) == ("finished", 0)
    assert Dashboard.objects.get().map["features"] == 0
    said = " ".join(
        JobEvent.objects.filter(job=job, kind="log").values_list("data__text", flat=True)
    )
    assert "Only 9 features are alive" in said


def test_dashboards_that_are_made_anew_meanwhile_fail_it_without_a_trace(planted, monkeypatch):
    job = job_services.start("map_sae", {"sae": "tiny/2-res"})
    contexts = builders.sequences()

    def anew(*args, **kwargs):
        made = real(*args, **kwargs)
        builders.dashboards(
            planted.sae, planted.corpus, [builders.firing(0, " day", contexts)], contexts
        )
        return made

    real = map_sae.compute_feature_map
    monkeypatch.setattr(map_sae, "compute_feature_map", anew)
    ended = done(job)
    assert (ended.state, ended.error_field) == ("failed", "sae")
    assert "were replaced while the map was computed" in ended.error
    assert not Feature.objects.filter(map_x__isnull=False).exists()


def test_an_sae_without_dashboards_is_refused_at_its_field(planted):
    Dashboard.objects.all().delete()
    with pytest.raises(InvalidParams, match="no dashboards yet"):
        job_services.start("map_sae", {"sae": "tiny/2-res"})
    job = done(job_services.start("map_sae", {"sae": "tiny/2-res"}, promised={"tiny/2-res"}))
    assert (job.state, job.error_field) == ("failed", "sae")


def test_one_map_is_made_at_a_time(planted):
    job_services.start("map_sae", {"sae": "tiny/2-res"})
    with pytest.raises(InvalidParams, match="already"):
        job_services.start("map_sae", {"sae": "tiny/2-res"})


@pytest.mark.parametrize(
    ("name", "value"), [("neighbours", 1), ("neighbours", 201), ("seed", -1), ("corpus", "x")]
)
def test_settings_out_of_range_are_refused_by_name(planted, name, value):
    with pytest.raises(InvalidParams) as refused:
        job_services.start("map_sae", {"sae": "tiny/2-res", name: value})
    assert list(refused.value.errors) == [name]
