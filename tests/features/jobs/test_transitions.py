"""The database itself refuses a change of state that is no part of a job's life."""

from functools import partial
from itertools import permutations

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from features.models import Job

LEGAL = {
    ("waiting", "queued"),
    ("waiting", "failed"),
    ("waiting", "cancelled"),
    ("queued", "running"),
    ("queued", "cancelled"),
    ("running", "queued"),
    ("running", "finished"),
    ("running", "failed"),
    ("running", "cancelled"),
}


def columns(state: str) -> dict[str, object]:
    """A row in that state that no other constraint refuses."""
    now = timezone.now()
    return {
        "state": state,
        "ended": now if state in Job.FINAL else None,
        "lease_until": now if state == "running" else None,
    }


@pytest.mark.django_db
@pytest.mark.parametrize(("before", "then"), list(permutations(Job.State.values, 2)))
def test_a_state_follows_another_only_where_that_is_legal(before: str, then: str) -> None:
    job = Job.objects.create(kind="add_model", params={}, queue="jobs", **columns(before))
    change = partial(Job.objects.filter(pk=job.pk).update, **columns(then))
    if (before, then) in LEGAL:
        assert change() == 1
    else:
        with (
            pytest.raises(IntegrityError, match=f"a job that is {before} cannot become {then}"),
            transaction.atomic(),
        ):
            change()
    job.refresh_from_db()
    assert job.state == (then if (before, then) in LEGAL else before)


@pytest.mark.django_db
@pytest.mark.parametrize("state", Job.State.values)
def test_writing_the_state_that_a_job_has_is_no_change(state: str) -> None:
    job = Job.objects.create(kind="add_model", params={}, queue="jobs", **columns(state))
    assert Job.objects.filter(pk=job.pk).update(**columns(state), doing="the same") == 1
