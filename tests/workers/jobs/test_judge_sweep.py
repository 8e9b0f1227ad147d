"""The job that has a sweep judged, against a stand-in on loopback: what it asks, keeps
and refuses.
"""

from collections.abc import Iterator

import pytest
from django.contrib.auth import get_user_model

from features import encryption
from features.models import (
    Endpoint,
    Exchange,
    Feature,
    Job,
    SteeringDelta,
    SteeringRun,
    SweepJudgement,
)
from features.records import InvalidParams
from features.services import jobs as job_services
from features.services import labels as label_services
from features.services.consensus import MEMBER
from tests import builders
from tests.workers.failing_worker import die_after_three
from tests.workers.fake_endpoint import KEY, MODEL, StandIn, stand_in
from workers.jobs import runner
from workers.pipeline.autointerp import client

pytestmark = pytest.mark.django_db(transaction=True)
TEXTS = [" One day a fox ran.", " day a day", " day day day day", " a fox", " day a day"]
"""The default's, and of strengths 1 to 4: the last writes what the first wrote."""


def brain(messages: list[dict[str, str]]) -> str:
    """A model that counts the word of the label, and dislikes what is said four times."""
    system, text = messages[0]["content"], messages[1]["content"].removeprefix("The fragment:\n\n")
    if "the word day" in system:
        return f"Let me see.\nRATING: {min(text.count('day'), 2)}"
    return f"RATING: {0 if text.count('day') == 4 else 2}"


@pytest.fixture(autouse=True)
def _places(settings, tmp_path, monkeypatch):
    settings.VAR, settings.ARTIFACTS_URL = tmp_path / "var", str(tmp_path / "artifacts")
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.02)


@pytest.fixture
def server() -> Iterator[StandIn]:
    with stand_in(brain) as running_:
        Endpoint.objects.create(
            slug="local", base_url=running_.url, model=MODEL, key=encryption.encrypt(KEY)
        )
        yield running_


@pytest.fixture
def sweep() -> SteeringRun:
    """A finished sweep of a feature with a label."""
    planted, (_, ben, _) = builders.planted(), builders.cast()
    label_services.propose(planted.feature(0), "the word day", by=ben, weight=MEMBER)
    return builders.swept(planted, TEXTS)


def start(sweep: SteeringRun, by: object = None, **params: object) -> Job:
    return job_services.start(
        "judge_sweep", {"run": sweep.pk, "endpoint": "local", **params}, by=by
    )


def done(job: Job) -> Job:
    runner.run(job.pk)
    return Job.objects.get(pk=job.pk)


def test_every_text_is_judged_twice_and_equal_texts_share_an_answer(
    sweep: SteeringRun, server: StandIn
) -> None:
    job = done(start(sweep))
    assert job.state == "finished", job.error
    row = SweepJudgement.objects.get()
    assert (row.run, row.job, row.judge, row.label) == (sweep, job, MODEL, "the word day")
    assert (row.concept, row.fluency) == ([1, 2, 2, 0, 2], [2, 2, 0, 2, 2])
    assert row.both == pytest.approx([4 / 3, 2, 0, 0, 2])
    assert (row.unread, row.unasked, len(server.requests)) == (0, 0, 8)
    assert (row.prompt_tokens, row.completion_tokens, row.cost) == (800, 80, 0)
    assert job.result == {
        "run": sweep.pk,
        "judged": 5,
        "unread": 0,
        "unasked": 0,
        "prompt_tokens": 800,
        "completion_tokens": 80,
        "cost": 0,
    }
    assert set(Exchange.objects.values_list("purpose", "feature")) == {
        ("judge concept", 0),
        ("judge fluency", 0),
    }


def test_a_judge_is_told_neither_strength_nor_prompt_and_the_order_says_nothing(
    sweep: SteeringRun, server: StandIn
) -> None:
    Endpoint.objects.update(concurrency=1)
    done(start(sweep))
    asked = [request["messages"] for request in server.requests]
    texts = [user["content"].removeprefix("The fragment:\n\n") for _, user in asked]
    assert sorted(set(texts)) == sorted(set(TEXTS))
    assert list(dict.fromkeys(texts)) != list(dict.fromkeys(TEXTS))
    assert sum("the word day" in system["content"] for system, _ in asked) == 4
    assert not any(
        "×" in system["content"] or "strength" in system["content"] for system, _ in asked
    )


def test_the_cost_follows_from_the_prices(sweep: SteeringRun, server: StandIn) -> None:
    Endpoint.objects.update(price_in=2, price_out=10)
    job = done(start(sweep))
    assert (
        job.result["cost"]
        == SweepJudgement.objects.get().cost
        == pytest.approx((800 * 2 + 80 * 10) / 1e6)
    )


def test_what_cannot_be_read_is_not_judged_and_counted(sweep: SteeringRun, server: StandIn) -> None:
    server.brain = lambda messages: (
        "I cannot say." if messages[1]["content"].endswith(" a fox") else brain(messages)
    )
    done(start(sweep))
    row = SweepJudgement.objects.get()
    assert (row.concept, row.fluency, row.unread) == ([1, 2, 2, None, 2], [2, 2, 0, None, 2], 2)
    assert row.both[3] is None


def test_an_answer_that_is_none_counts_likewise(sweep: SteeringRun, server: StandIn) -> None:
    Endpoint.objects.update(concurrency=1)
    server.mishaps = ["html"] * 3 + ["429", "500"]
    job = done(start(sweep))
    assert (job.state, SweepJudgement.objects.get().unread) == ("finished", 1)
    assert any("gave no answer" in str(event.data) for event in job.events.all())


def test_a_judge_that_says_nothing_that_can_be_read_leaves_no_row(
    sweep: SteeringRun, server: StandIn
) -> None:
    server.brain = lambda messages: "I would rather not."
    job = done(start(sweep))
    assert (job.state, job.error_field) == ("failed", "endpoint")
    assert "None of 8 answers could be read" in job.error
    assert not SweepJudgement.objects.exists()
    assert Exchange.objects.count() == 8, "what was paid for can be looked at"


def test_a_budget_that_ends_early_says_what_was_not_asked(
    sweep: SteeringRun, server: StandIn
) -> None:
    Endpoint.objects.update(concurrency=1)
    job = done(start(sweep, most_tokens=1200))
    assert job.state == "finished", job.error
    row = SweepJudgement.objects.get()
    assert 0 < row.unasked < 8
    assert row.unread == 0
    assert row.tokens <= 1200
    assert len(server.requests) == 8 - row.unasked
    assert None in row.both


def test_a_budget_for_no_answer_at_all_is_told_beside_it(
    sweep: SteeringRun, server: StandIn
) -> None:
    Endpoint.objects.update(price_in=1000, price_out=1000)
    job = done(start(sweep, most_cost=0.01))
    assert (job.state, job.error_field) == ("failed", "most_tokens")
    assert not server.requests
    assert not SweepJudgement.objects.exists()


def test_a_job_that_goes_on_asks_nothing_twice(
    sweep: SteeringRun, server: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    Endpoint.objects.update(concurrency=1)
    job = start(sweep)
    die_after_three(job, monkeypatch)
    assert not SweepJudgement.objects.exists()
    kept = [exchange.messages for exchange in Exchange.objects.all()]
    before = len(server.requests)
    assert done(job).state == "finished"
    assert not [request for request in server.requests[before:] if request["messages"] in kept]
    assert SweepJudgement.objects.get().concept == [1, 2, 2, 0, 2]


def test_what_was_paid_for_is_used_where_nothing_is_left_to_spend(
    sweep: SteeringRun, server: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    Endpoint.objects.update(concurrency=1)
    job = start(sweep, most_tokens=5000)
    die_after_three(job, monkeypatch)
    assert not SweepJudgement.objects.exists()
    first, *others = Exchange.objects.order_by("id")
    first.delete()  # as if it had been on its way when the worker died
    Exchange.objects.update(prompt_tokens=2500)
    before = len(server.requests)
    assert done(job).state == "finished"
    assert len(server.requests) == before
    assert SweepJudgement.objects.get().unasked == 8 - len(others)


def test_anothers_endpoint_is_not_to_be_used(sweep: SteeringRun, server: StandIn) -> None:
    users = {user.username: user for user in get_user_model().objects.all()}
    Endpoint.objects.update(owner=users["ben"])
    job = done(start(sweep, by=users["ada"]))
    assert (job.state, job.error_field) == ("failed", "endpoint")
    assert "belongs to another user" in job.error
    assert not server.requests
    assert done(start(sweep, by=users["ben"])).state == "finished"


def test_a_refused_key_fails_the_job_without_a_row(sweep: SteeringRun, server: StandIn) -> None:
    Endpoint.objects.update(key=encryption.encrypt("wrong"))
    job = done(start(sweep))
    assert (job.state, job.error_field) == ("failed", "endpoint")
    assert "wrong" not in job.error
    assert not SweepJudgement.objects.exists()


def test_an_endpoint_that_is_too_slow_puts_the_job_off(
    sweep: SteeringRun, server: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "RETRY_SECONDS", 0.1)
    Endpoint.objects.update(timeout=1, concurrency=1)
    server.mishaps = ["late", "late"]
    job = done(start(sweep))
    assert job.state == "queued"
    assert job.not_before is not None
    assert not SweepJudgement.objects.exists()


def test_a_sweep_that_went_while_it_was_judged_leaves_a_clear_error(
    sweep: SteeringRun, server: StandIn
) -> None:
    def brain_that_deletes(messages: list[dict[str, str]]) -> str:
        SteeringRun.objects.all().delete()
        return "RATING: 1"

    server.brain = brain_that_deletes
    job = done(start(sweep))
    assert (job.state, job.error_field) == ("failed", "run")
    assert f"no steering run {sweep.pk} any more" in job.error
    assert not SweepJudgement.objects.exists()


def test_empty_texts_are_not_asked_about(server: StandIn) -> None:
    planted, (_, ben, _) = builders.planted(), builders.cast()
    label_services.propose(planted.feature(0), "the word day", by=ben, weight=MEMBER)
    done(start(builders.swept(planted, ["", " day", "\n    "])))
    row = SweepJudgement.objects.get()
    assert (row.concept, row.unread, row.unasked) == ([None, 1, None], 0, 0)
    nothing = done(start(builders.swept(planted, ["", "\n    "])))
    assert (nothing.state, nothing.error_field) == ("failed", "run")
    assert "nothing to judge" in nothing.error


def test_what_cannot_be_judged_is_refused_before_anything_is_queued(
    sweep: SteeringRun, server: StandIn
) -> None:
    SteeringRun.objects.filter(pk=sweep.pk).update(state="running")
    refused(sweep.pk, "is running: only a sweep that has finished")
    SteeringRun.objects.filter(pk=sweep.pk).update(state="finished")
    SteeringDelta.objects.all().delete()
    refused(sweep.pk, "only a sweep that has finished")
    SteeringRun.objects.filter(pk=sweep.pk).update(params={**sweep.params, "strengths": []})
    refused(sweep.pk, "is no sweep: press “Sweep strengths”")
    refused(sweep.pk + 1000, "no steering run")
    refused("soon", "whole number")
    refused(10**30, "less than or equal")
    refused(-1, "greater than or equal")


def test_a_feature_without_a_label_is_refused_with_the_remedy(server: StandIn) -> None:
    planted = builders.planted()
    refused(
        builders.swept(planted).pk, "has no label, so a judge has nothing to look for: write one"
    )
    swept = builders.swept(planted)
    Feature.objects.all().delete()
    refused(swept.pk, "no feature tiny/2-res/0 any more")


def refused(run: object, words: str) -> None:
    with pytest.raises(InvalidParams, match=words) as error:
        job_services.start("judge_sweep", {"run": run, "endpoint": "local"})
    assert list(error.value.errors) == ["run"]
    assert not Job.objects.filter(kind="judge_sweep").exists()


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"endpoint": ""}, "endpoint"),
        ({"endpoint": "nobody"}, "endpoint"),
        ({"most_tokens": 1}, "most_tokens"),
    ],
)
def test_other_settings_are_refused_beside_their_fields(
    sweep: SteeringRun, server: StandIn, params: dict[str, object], field: str
) -> None:
    with pytest.raises(InvalidParams) as error:
        start(sweep, **params)
    assert list(error.value.errors) == [field]


def test_one_job_at_a_time_judges_a_sweep(sweep: SteeringRun, server: StandIn) -> None:
    first = start(sweep)
    with pytest.raises(InvalidParams, match=f"Job {first.pk} is judging it already"):
        start(sweep)
    done(first)
    assert done(start(sweep)).state == "finished"
    assert SweepJudgement.objects.count() == 2
