"""The job that matches two SAEs: from their weights to rows both ways, or a reason why not."""

from types import SimpleNamespace

import pytest
import torch

from features.models import Job, LanguageModel, Match, Matching
from features.records import InvalidParams
from features.services import jobs as job_services
from tests import builders
from workers.jobs import match_saes, runner

pytestmark = pytest.mark.django_db(transaction=True)
PAIR = {"sae": "tiny/2-res", "other": "tiny/3-res"}


@pytest.fixture(autouse=True)
def _places(settings, tmp_path):
    settings.VAR, settings.ARTIFACTS_URL = tmp_path / "var", str(tmp_path / "artifacts")


@pytest.fixture
def weights(monkeypatch):
    """Two SAEs; in the second, features come in falling order and three directions are new."""
    planted = builders.planted()
    builders.sae(planted.model, "3-res", width=8)
    torch.manual_seed(0)
    first = torch.nn.functional.normalize(torch.randn(8, 64), dim=1)
    second = first.flip(0).clone()
    second[:3] = torch.nn.functional.normalize(torch.randn(3, 64), dim=1)
    made = {"2-res": SimpleNamespace(W_dec=first), "3-res": SimpleNamespace(W_dec=second)}
    monkeypatch.setattr(match_saes.model_cache, "load_sae", lambda row: made[row.slug])
    return made


def done(job: Job) -> Job:
    runner.run(job.pk)
    return Job.objects.get(pk=job.pk)


def test_both_ways_are_written_with_the_share_that_has_a_match(weights):
    job = done(job_services.start("match_saes", PAIR))
    assert job.state == "finished", job.error
    assert job.result == {
        "sae": "tiny/2-res",
        "other": "tiny/3-res",
        "matched": 0.625,
        "matched_back": 0.625,
    }
    there, back = Matching.objects.order_by("sae__slug")
    assert (str(there), there.job, there.matched) == ("tiny/2-res in tiny/3-res", job, 0.625)
    found = dict(
        Match.objects.filter(sae=there.sae, cosine__gte=0.7).values_list("index", "other_index")
    )
    assert found == {0: 7, 1: 6, 2: 5, 3: 4, 4: 3}
    found = dict(
        Match.objects.filter(sae=back.sae, cosine__gte=0.7).values_list("index", "other_index")
    )
    assert found == {7: 0, 6: 1, 5: 2, 4: 3, 3: 4}
    assert sum(there.histogram) == Match.objects.filter(sae=there.sae).count() == 8


def test_again_replaces_what_was_there(weights):
    done(job_services.start("match_saes", PAIR))
    weights["3-res"].W_dec = weights["2-res"].W_dec
    done(job_services.start("match_saes", {"sae": PAIR["other"], "other": PAIR["sae"]}))
    assert Matching.objects.count() == 2
    assert {matching.matched for matching in Matching.objects.all()} == {1.0}
    assert not Match.objects.exclude(index=0, other_index=0).filter(cosine__lt=0.7).exists()


def test_directions_of_other_widths_fail_at_their_field_and_write_nothing(weights):
    weights["3-res"].W_dec = torch.randn(8, 32)
    job = done(job_services.start("match_saes", PAIR))
    assert (job.state, job.error_field) == ("failed", "other")
    assert not Matching.objects.exists()
    assert not Match.objects.exists()


def test_an_sae_that_is_gone_meanwhile_is_named(weights):
    job = job_services.start("match_saes", PAIR)
    Job.objects.filter(pk=job.pk).update(params=PAIR | {"other": "tiny/9-res"})
    ended = done(Job.objects.get(pk=job.pk))
    assert (ended.state, ended.error_field) == ("failed", "other")


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ("tiny/2-res", "an SAE matches itself exactly"),
        ("other/2-res", "another model"),
        ("tiny/nobody", "There is no SAE"),
        ("tiny/thin", "reads 16 dimensions"),
        ("", "required"),
        ("\0", "Null characters"),
    ],
)
def test_what_cannot_be_matched_is_refused_beside_its_field(weights, other, said):
    builders.planted(slug="other")
    thin = builders.sae(LanguageModel.objects.get(slug="tiny"), "thin")
    thin.d_in = 16
    thin.save()
    with pytest.raises(InvalidParams) as refused:
        job_services.start("match_saes", PAIR | {"other": other})
    assert list(refused.value.errors) == ["other"]
    assert said in str(refused.value)
    assert not Job.objects.exists()


def test_two_are_matched_once_at_a_time_whichever_is_named_first(weights):
    job_services.start("match_saes", PAIR)
    with pytest.raises(InvalidParams, match="already"):
        job_services.start("match_saes", {"sae": PAIR["other"], "other": PAIR["sae"]})
