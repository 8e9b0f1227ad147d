"""Estimates: the arithmetic of each kind by hand, speeds measured on planted jobs, and honesty
where there are none.
"""

from datetime import timedelta

import pytest
from django.utils import timezone

from features.jobs.forms import JOB_FORMS
from features.models import Job, LanguageModel, Sae
from features.services.estimates import estimate
from tests import builders

pytestmark = pytest.mark.django_db
TRAIN = {"model": "tiny", "hook": "blocks.1.hook_resid_post", "width": 512, "tokens": 1_000_000}
PER_TOKEN = {
    "train_sae": 2 * 3_456_789 * 2 / 4 + 12 * 64 * 512,
    "compute_dashboards": 2 * 3_456_789 * 3 / 4 + 2 * 64 * 8,
    "evaluate_sae": 3 * 2 * 3_456_789 + 4 * 64 * 8,
    "label_sae": 2 * 3_456_789 * 3 / 4 + 2 * 64 * 8,
}


ASSUMED_SPEED = {kind: form.assumed_speed for kind, form in JOB_FORMS.items() if form.assumed_speed}


@pytest.fixture(autouse=True)
def _planted():
    builders.planted()


def finished(kind, params, seconds, **changes):
    """A job of that kind that took so long."""
    now = timezone.now()
    usual = {
        "state": "finished",
        "attempts": 1,
        "started": now - timedelta(seconds=seconds),
        "ended": now,
    }
    return Job.objects.create(kind=kind, params=params, queue="jobs", **(usual | changes))


def params_of(kind):
    return (
        TRAIN
        if kind == "train_sae"
        else {"sae": "tiny/2-res", "corpus": "tiny-stories", "tokens": 400_000}
    )


@pytest.mark.parametrize("kind", list(ASSUMED_SPEED))
def test_without_earlier_jobs_a_stated_speed_is_assumed(kind):
    params = params_of(kind)
    found = estimate(kind, params)
    assert found.seconds == pytest.approx(PER_TOKEN[kind] * params["tokens"] / ASSUMED_SPEED[kind])
    assert found.tokens == params["tokens"]
    assert "Assumes" in found.basis


@pytest.mark.parametrize("kind", list(ASSUMED_SPEED))
def test_the_same_job_again_takes_as_long_as_it_took(kind):
    job = finished(kind, params_of(kind), 42)
    found = estimate(kind, params_of(kind))
    assert found.seconds == pytest.approx(42, rel=1e-3)
    assert f"measured on job {job.pk}" in found.basis


def test_a_wider_sae_on_a_later_layer_takes_longer_by_the_arithmetic():
    finished("train_sae", TRAIN, 100)
    wider = TRAIN | {"width": 2048, "hook": "blocks.3.hook_resid_post"}
    expected = 100 * (2 * 3_456_789 + 12 * 64 * 2048) / PER_TOKEN["train_sae"]
    assert estimate("train_sae", wider).seconds == pytest.approx(expected, rel=1e-3)


def test_the_speed_is_the_median_of_the_last_five_so_one_odd_run_changes_little():
    finished("train_sae", TRAIN, 1)  # the sixth from the end does not count
    for seconds in (50, 100, 100, 100, 9000):
        finished("train_sae", TRAIN, seconds)
    assert estimate("train_sae", TRAIN).seconds == pytest.approx(100, rel=1e-3)


def test_jobs_that_failed_resumed_or_read_a_forgotten_model_do_not_count():
    finished("train_sae", TRAIN, 10, state="failed")
    finished("train_sae", TRAIN, 10, attempts=2)
    finished("train_sae", TRAIN | {"model": "forgotten"}, 10)
    assert "Assumes" in estimate("train_sae", TRAIN).basis


def test_a_corpus_that_ended_early_counts_with_the_tokens_it_had():
    finished("compute_dashboards", params_of("compute_dashboards"), 10, done=100_000, unit="tokens")
    assert estimate("compute_dashboards", params_of("compute_dashboards")).seconds == pytest.approx(
        40, rel=1e-3
    )


@pytest.mark.parametrize("missing", ["model", "hook", "width", "tokens"])
def test_incomplete_settings_have_no_estimate(missing):
    assert (
        estimate("train_sae", {name: value for name, value in TRAIN.items() if name != missing})
        is None
    )


def test_kinds_that_read_no_tokens_take_as_long_as_they_took_before():
    assert estimate("add_model", {"slug": "x", "source": "y"}) is None
    finished("add_model", {"slug": "x", "source": "y"}, 3)
    found = estimate("add_model", {"slug": "x", "source": "y"})
    assert (round(found.seconds), found.tokens) == (3, 0)
    assert "As long as job" in found.basis


def test_an_estimate_takes_a_constant_number_of_queries(django_assert_max_num_queries):
    for _ in range(5):
        finished("compute_dashboards", params_of("compute_dashboards"), 10)
    with django_assert_max_num_queries(3):
        estimate("compute_dashboards", params_of("compute_dashboards"))


def test_several_saes_cost_one_forward_to_the_deepest_and_the_sum_of_their_widths():
    other = builders.sae(LanguageModel.objects.get(), "0-res", width=100)
    Sae.objects.filter(pk=other.pk).update(hook="blocks.0.hook_resid_post")
    params = {**params_of("compute_dashboards"), "sae": "tiny/0-res tiny/2-res"}
    work = 2 * 3_456_789 * 3 / 4 + 2 * 64 * (8 + 100)
    found = estimate("compute_dashboards", params)
    assert found.seconds == pytest.approx(work * 400_000 / ASSUMED_SPEED["compute_dashboards"])
    assert estimate("compute_dashboards", {**params, "sae": "tiny/0-res tiny/gone"}) is None


def test_shards_are_estimated_for_one_worker_and_what_parts_took_is_no_measure():
    params = {**params_of("compute_dashboards"), "shards": 4}
    whole = finished("compute_dashboards", params, 1)
    finished("scan_shard", {**params, "shard": 1}, 1, part_of=whole)
    found = estimate("compute_dashboards", params)
    assert "Assumes" in found.basis
    assert "4 at once take about a 4th of it" in found.basis
    assert found.seconds == estimate("compute_dashboards", params_of("compute_dashboards")).seconds
