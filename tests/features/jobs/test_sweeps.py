"""Sweeps: which SAEs a job's settings make, what they are called, what is refused, and what they
take.
"""

from datetime import timedelta

import pytest
from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone

from features.formfields import ListField
from features.jobs import sweeps, training_memory
from features.jobs.forms import TrainSae
from features.models import Job, LanguageModel, Worker
from features.records import InvalidParams
from features.services.estimates import estimate
from features.services.jobs import start
from tests import builders

HOOKS = ["blocks.1.hook_resid_post", "blocks.2.hook_resid_post"]
TRAIN = {
    "model": "tiny",
    "slug": "s",
    "corpus": "tiny-stories",
    "hook": HOOKS[1],
    "width": 512,
    "k": 24,
    "then": False,
}
GIB = 2**30


@pytest.fixture
def planted():
    builders.planted()


def refused(**changes) -> dict[str, list[str]]:
    with pytest.raises(InvalidParams) as caught:
        start("train_sae", TRAIN | changes)
    assert not Job.objects.exists()
    return caught.value.errors


@pytest.mark.parametrize(
    ("given", "cleaned"),
    [
        ("8", 8),
        (8, 8),
        ("8, 16,8", [8, 16]),
        ([8, "16"], [8, 16]),
        (" 8 ,", 8),
        ("", None),
        (None, None),
        ([], None),
    ],
)
def test_one_value_stays_and_several_become_a_list(given, cleaned):
    assert ListField(forms.IntegerField(min_value=1), required=False).clean(given) == cleaned


def test_a_wrong_value_of_several_is_named():
    with pytest.raises(ValidationError, match="0: Ensure this value is greater"):
        ListField(forms.IntegerField(min_value=1)).clean("8,0")
    with pytest.raises(ValidationError, match="required"):
        ListField(forms.IntegerField(min_value=1)).clean(" , ")


def test_every_combination_is_one_sae_named_after_what_it_differs_in():
    sweep = sweeps.sweep_of(
        TRAIN | {"hook": HOOKS, "k": [8, 16], "learning_rate": [1e-3, 4e-5], "architecture": "topk"}
    )
    assert sweep.description == "2 hooks × 2 values of k × 2 learning rates"
    made = sweep.saes
    assert list(made)[:3] == ["s-1-res-k8-lr0.001", "s-1-res-k8-lr4e-05", "s-1-res-k16-lr0.001"]
    assert len(made) == 8
    one = made["s-2-res-k16-lr4e-05"]
    assert (one["hook"], one["k"], one["learning_rate"], one["width"]) == (HOOKS[1], 16, 4e-5, 512)
    assert one["slug"] == "s-2-res-k16-lr4e-05"


def test_a_job_for_one_sae_is_a_sweep_of_one_under_its_own_name():
    assert sweeps.sweep_of(TRAIN | {"architecture": "gated"}).saes == {
        "s": {name: value for name, value in TRAIN.items() if name != "k"}
        | {"architecture": "gated"}
    }


def test_what_an_architecture_does_not_read_makes_no_further_sae():
    mixed = TRAIN | {"architecture": ["topk", "standard"], "k": [8, 16], "sparsity": [0.1, 1.0]}
    assert list(sweeps.sweep_of(mixed).saes) == [
        "s-topk-k8",
        "s-topk-k16",
        "s-standard-s0.1",
        "s-standard-s1",
    ]


@pytest.mark.django_db
def test_a_sweep_is_queued_as_one_job_with_what_follows_for_each(planted):
    job = start("train_sae", TRAIN | {"k": "8,16", "seed": [0, 1], "then": True})
    assert (job.params["k"], job.params["seed"], job.params["width"]) == ([8, 16], [0, 1], 512)
    later = Job.objects.filter(pk__gt=job.pk).order_by("pk")
    shown, measured = later.get(kind="compute_dashboards"), later.filter(kind="evaluate_sae")
    names = [f"tiny/s-k{k}-seed{seed}" for k in (8, 16) for seed in (0, 1)]
    assert (shown.params["sae"].split(), shown.after) == (names, job)
    assert [(one.params["sae"], one.after) for one in measured] == [(name, shown) for name in names]


@pytest.mark.django_db
def test_more_than_sixteen_are_refused_with_the_count(planted):
    (text,) = refused(k="1,2,3,4,5", width="64,128", seed="0,1")["__all__"]
    assert text.startswith(
        "These settings make 20 SAEs (2 widths × 5 values of k × 2 seeds); one sweep trains at "
        "most 16."
    )
    many = ",".join(map(str, range(64, 164)))
    (text,) = refused(k=many, width=",".join(map(str, range(200, 300))), seed=many)["__all__"]
    assert "1,000 or more SAEs" in text


@pytest.mark.django_db
def test_a_wide_sweep_is_shown_by_several_jobs_of_four_saes_each_as_all_are_in_memory_at_once(
    planted,
):
    start(
        "train_sae",
        TRAIN | {"hook": HOOKS[0], "k": "1,2,3,4,5", "architecture": "topk", "then": True},
    )
    shown = Job.objects.filter(kind="compute_dashboards").order_by("id")
    assert [len(job.params["sae"].split()) for job in shown] == [4, 1]
    assert Job.objects.filter(kind="evaluate_sae").count() == 5
    with pytest.raises(InvalidParams, match="at most 4"):
        start(
            "compute_dashboards",
            {"sae": " ".join(f"tiny/s{n}" for n in range(5)), "corpus": "tiny-stories"},
        )


@pytest.mark.django_db
def test_names_of_a_sweep_are_as_taken_as_any_other(planted):
    start("train_sae", TRAIN | {"k": "8,16"})
    for changes in ({"slug": "s-k8"}, {"k": "16,32"}):
        with pytest.raises(InvalidParams) as caught:
            start("train_sae", TRAIN | changes)
        assert list(caught.value.errors) == ["slug"]
    assert start("train_sae", TRAIN | {"slug": "s-k32"})


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"hook": f"{HOOKS[0]},blocks.9.hook_resid_post"}, "hook"),
        ({"width": "16,512", "k": "8,24"}, "k"),
        ({"width": "512,0"}, "width"),
        ({"architecture": "topk,magic"}, "architecture"),
        ({"seed": "0,x"}, "seed"),
        ({"slug": "s" * 60, "k": "8,16"}, "slug"),
        ({"architecture": "topk,standard", "k": ""}, "k"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_its_field(planted, changes, field):
    assert list(refused(**changes)) == [field]


@pytest.mark.django_db
def test_a_proposed_name_says_what_the_saes_have_in_common(planted):
    both = {"hook": ",".join(HOOKS), "model": "tiny"}
    assert TrainSae.defaults(both)["slug"] == "topk"
    assert TrainSae.defaults(both | {"architecture": "topk,gated"})["slug"] == "sweep"
    assert TrainSae.defaults({"architecture": "topk,gated", "model": "tiny"})["slug"] == "2-res-2"
    assert TrainSae.defaults(both)["hook"] == ",".join(HOOKS)


@pytest.mark.django_db
def test_the_estimate_of_a_sweep_runs_the_model_once_to_its_deepest_hook(planted):
    common = {"model": "tiny", "tokens": 1_000_000, "architecture": "topk"}
    found = estimate("train_sae", common | {"hook": HOOKS, "width": [512, 1024]})
    work = 2 * 3_456_789 * 3 / 4 + 12 * 64 * 2 * (512 + 1024)
    assert found.seconds == pytest.approx(work * 1e6 / 1e11)
    assert found.saes == 4


@pytest.mark.django_db
def test_memory_by_hand(planted):
    model = LanguageModel.objects.get()
    need = training_memory.memory_of({"hook": HOOKS, "width": [512, 1024]}, model)
    assert need.model == 4 * 3_456_789
    assert need.saes == 2 * 16 * (2 * 64 * (512 + 1024) + 4 * (512 + 1024) + 2 * 64)
    assert need.activations == 2048 * 8 * (1024 + 64) * 4 + 2 * 2 * 16 * 2048 * 64 * 4
    assert need.total > need.model + need.saes + need.activations


def worker(gigabytes: float, **changes) -> Worker:
    now = timezone.now()
    usual = {
        "name": "machine:7",
        "queues": ["jobs"],
        "device": "cpu",
        "version": "1",
        "memory": int(gigabytes * GIB),
        "memory_free": 0,
        "memory_own": 0,
        "started": now,
        "seen": now,
    }
    return Worker.objects.create(**(usual | changes))


WIDE = {"width": "1048576", "seed": ",".join(map(str, range(16)))}
"""16 x 16 bytes x 132 x 2**20 numbers: 33.0 GiB, and what else it takes."""


@pytest.mark.django_db
def test_what_does_not_fit_the_largest_worker_is_refused_with_the_estimate(planted):
    worker(24)
    (text,) = refused(**WIDE)["width"]
    assert (
        "would take about 97.7 GiB (SAEs with gradients and optimizer 33.0 GiB, activations 64.0 "
        "GiB" in text
    )
    assert "the largest worker of “jobs”, machine:7, has 24.0 GiB" in text
    worker(100, name="larger:8")
    assert start("train_sae", TRAIN | WIDE)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "changes",
    [
        {"left": timezone.now()},
        {"seen": timezone.now() - timedelta(minutes=5)},
        {"queues": ["inference"]},
    ],
)
def test_a_worker_that_is_gone_silent_or_elsewhere_refuses_nothing(planted, changes):
    worker(1, **changes)
    assert start("train_sae", TRAIN | WIDE)


@pytest.mark.django_db
def test_a_gpus_own_memory_is_what_counts_there(planted):
    worker(500, device_memory=24 * GIB)
    assert "24.0 GiB" in refused(**WIDE)["width"][0]
