"""Steering runs on the website: request one, watch it, and stop it.

    run = steering_runs.request_run(form, visitor)   # equal requests share one run
    steering_runs.watch(run.pk)                      # it continues while a page watches

`execution` has what a worker does. A message to the workers only says that a run waits; a free
worker then decides which run is next.
"""

import hashlib
import json
from datetime import timedelta
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from features.inference.requests import QUEUE, NoAnswer
from features.models import (
    Example,
    Feature,
    Sequence,
    SteeringRequest,
    SteeringRun,
)
from features.queue.claims import close
from features.queue.notifications import Channel, notify, wait_for
from features.queue.workers import has_worker
from features.records import Intervention
from features.steering import execution
from features.steering.forms import SteerForm

WATCH_TIMEOUT = timedelta(seconds=30)
RELOAD_GRACE = timedelta(seconds=3)
"""How long a run continues without watchers, so that a page can be reloaded."""
MAX_AT_ONCE = 3
"""Live runs of one visitor."""
NEUTRAL = 8
"""Neutral texts on which a sweep measures damage."""

State = SteeringRun.State


class TooManyRuns(Exception):
    """The visitor has the maximum number of live runs; the message says what to do."""


def request_run(form: SteerForm, who: str, owner: str = "") -> SteeringRun:
    """The run of a valid form: an equal earlier one, or a new one. Raises `TooManyRuns`, and
    `NoAnswer` where no worker could run it.

    It counts towards the limit of `who`, and is in the history of `owner` (default: `who`), because
    visitors behind one IP address share a limit but not a history.
    """
    plan = plan_of(form)
    key = hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()
    with transaction.atomic():
        _lock_requests_of(who)
        run = SteeringRun.objects.select_for_update().filter(key=key).first()
        if run is None:
            run = _create(key, plan, form, who)
        elif run.state == State.STOPPED or (run.error and run.error["passing"]):
            _require_turn(who)
            execution.restart(
                run,
                attempts=0,
                requested_by=who,
                watched_until=timezone.now() + WATCH_TIMEOUT,
                error=None,
                stop_requested=False,
            )
        SteeringRequest.objects.update_or_create(
            run=run, who=owner or who, defaults={"at": timezone.now()}
        )
    run.refresh_from_db()
    return run


def plan_of(form: SteerForm) -> dict[str, Any]:
    """The params of a form with everything that determines the text: revisions, hashes, maxima and
    promoted tokens.
    """
    model, rows = form.cleaned_data["model"], form.rows
    interventions: list[Intervention] = form.cleaned_data["features"]
    features = [rows[one.sae, one.index] for one in interventions]
    planned = [
        one._replace(
            sha256=row.sae.sha256, maximum=row.max_activation, tokens=tuple(row.top_tokens)
        ).to_json()
        for one, row in zip(interventions, features, strict=True)
    ]
    plan = {**form.params(), "features": planned, "revision": model.revision}
    return plan | {"neutral": _neutral(features[0])} if plan["strengths"] else plan


def stop(pk: int) -> None:
    """Ask a run to stop: at once where it waits, at its next token where it runs."""
    runs = SteeringRun.objects.filter(pk=pk)
    runs.filter(state__in=SteeringRun.LIVE).update(stop_requested=True)
    if close(runs.filter(state=State.QUEUED), State.STOPPED, error=execution.error("Stopped.")):
        notify(Channel.STEERING, pk)


def watch(pk: int) -> None:
    """Keep a run going for `WATCH_TIMEOUT`, because a page shows it."""
    _watch_for(pk, WATCH_TIMEOUT)


def unwatch(pk: int) -> None:
    """Register that a watcher left. Other watchers call `watch` again within `RELOAD_GRACE`."""
    _watch_for(pk, RELOAD_GRACE)
    notify(Channel.STEERING, pk)


def wait(pk: int, seconds: float) -> bool:
    """Keep the run going and wait until it ends; return whether it did."""

    def over() -> bool | None:
        if SteeringRun.objects.filter(pk=pk, state__in=SteeringRun.FINAL).exists():
            return True
        watch(pk)
        return None

    return wait_for(Channel.STEERING, pk, over, seconds) or False


def _create(key: str, plan: dict[str, Any], form: SteerForm, who: str) -> SteeringRun:
    _require_turn(who)
    values = {
        "model": form.cleaned_data["model"],
        "params": plan,
        "requested_by": who,
        "watched_until": timezone.now() + WATCH_TIMEOUT,
    }
    run, _ = SteeringRun.objects.get_or_create(key=key, defaults=values)
    execution.send(run.pk)
    return run


def _watch_for(pk: int, time: timedelta) -> None:
    live = SteeringRun.objects.filter(pk=pk, state__in=SteeringRun.LIVE)
    live.update(watched_until=timezone.now() + time)


def _neutral(feature: Feature) -> list[int]:
    """Contexts of the dashboards that are no examples of the feature."""
    fires = Example.objects.filter(feature=feature).values("sequence")
    rows = Sequence.objects.filter(model=feature.sae.model_id).exclude(pk__in=fires)
    return list(rows.order_by("pk").values_list("pk", flat=True)[:NEUTRAL])


def _require_turn(who: str) -> None:
    """Raise `TooManyRuns` or `NoAnswer` where another run is not possible."""
    live = SteeringRun.objects.filter(state__in=SteeringRun.LIVE, requested_by=who)
    under_way = live.filter(watched_until__gte=timezone.now()).count()
    if under_way >= MAX_AT_ONCE:
        raise TooManyRuns(
            f"{under_way} runs of yours are under way already. Wait for one of them, or stop it."
        )
    if not has_worker(QUEUE):
        raise NoAnswer(
            "No worker of the queue “inference” is running, so steering is not available. See "
            "/jobs/workers/."
        )


def _lock_requests_of(who: str) -> None:
    """Make other requests of this visitor wait until the transaction ends, so that they are
    counted one by one.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtext(%s))", [f"featurescope: steering of {who}"]
        )
