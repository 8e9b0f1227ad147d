"""The life of a steering run: every change of state is a compare-and-set on its row, and what came
is kept piece by piece.

    run = runs.ask(form, who)           # on the website: equal requests share one run run =
    runs.take(worker)             # on a worker: of the people who wait, whose turn is longest ago
    runs.write(run, pieces)             # and who watches is told

A message to the workers says only that something waits; which run is next is decided when one of
them is free. A run whose worker died is begun anew, and says so; one that nobody watches any more
gives its place away.
"""

import hashlib
import json
import time
from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta
from typing import Any

from celery import current_app
from django.db import connection, transaction
from django.db.models import F, Max, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone
from kombu.exceptions import OperationalError as BrokerDown

from features import redaction
from features.inference.requests import QUEUE, NoAnswer
from features.models import Example, Feature, Sequence, SteeringAsk, SteeringDelta, SteeringRun
from features.records import Intervention
from features.selectors.workers import listens
from features.steering.forms import SteerForm

TASK = "workers.steer"
CHANNEL = "featurescope_steering"
LEASE = timedelta(seconds=15)
WATCHED = timedelta(seconds=30)
LEFT = timedelta(seconds=3)
"""After the last watcher went a run stays so long: a page that is reloaded finds it."""
UNSENT_AFTER = timedelta(seconds=5)
MOST_AT_ONCE = 3
"""Runs of one person that wait or run."""
MOST_ATTEMPTS = 3
NEUTRAL = 8
"""Texts on which a sweep measures damage."""

State = SteeringRun.State
LIVE = (State.QUEUED, State.RUNNING)


class TooMany(Exception):
    """This person has as many runs under way as one may have; the message says what to do."""


class LostRun(Exception):
    """The run is another worker's by now, or over: write nothing more."""


def ask(form: SteerForm, who: str, owner: str = "") -> SteeringRun:
    """The run of a valid form, as it is or from the beginning. Raises `TooMany`, and `NoAnswer`
    where nobody could run it.

    It takes a turn of `who`, and stands in the history of `owner` (of `who` where none is given):
    visitors behind one address share its turns, and nobody sees what another asked.
    """
    plan = planned(form)
    key = hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()
    with transaction.atomic():
        _one_at_a_time(who)
        run = SteeringRun.objects.select_for_update().filter(key=key).first()
        again = run is not None and (
            run.state == State.STOPPED or bool(run.error and run.error["passing"])
        )
        if run is None or again:
            _may_wait(who)
            until = timezone.now() + WATCHED
            if run is None:
                run, _ = SteeringRun.objects.get_or_create(
                    key=key,
                    defaults={
                        "model": form.cleaned_data["model"],
                        "params": plan,
                        "asked_by": who,
                        "watched_until": until,
                    },
                )
            else:
                _begin_anew(
                    run,
                    attempts=0,
                    asked_by=who,
                    watched_until=until,
                    error=None,
                    stop_requested=False,
                )
            _send(run.pk)
        SteeringAsk.objects.update_or_create(
            run=run, who=owner or who, defaults={"at": timezone.now()}
        )
    run.refresh_from_db()
    return run


def planned(form: SteerForm) -> dict[str, Any]:
    """The params with everything that the text follows from: revisions, hashes, maxima and the
    tokens that are promoted.
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


def take(worker: str) -> SteeringRun | None:
    """Claim the next run: of the people who wait, the one who was served longest ago; of theirs,
    the oldest.
    """
    now = timezone.now()
    for old in SteeringRun.objects.filter(state=State.QUEUED, watched_until__lt=now):
        _end(old, State.STOPPED, "Nobody watched any more.", by=State.QUEUED)
    served = SteeringRun.objects.filter(
        asked_by=OuterRef("asked_by"), started__isnull=False
    ).order_by()
    last = Subquery(served.values("asked_by").annotate(last=Max("started")).values("last"))
    with transaction.atomic():
        waiting = SteeringRun.objects.select_for_update(skip_locked=True, of=("self",)).filter(
            state=State.QUEUED
        )
        run: SteeringRun | None = (
            waiting.annotate(last=last)
            .order_by(F("last").asc(nulls_first=True), "queued", "id")
            .first()
        )
        if run is None:
            return None
        taken = {
            "state": State.RUNNING,
            "worker": worker,
            "started": now,
            "lease_until": now + LEASE,
        }
        SteeringRun.objects.filter(pk=run.pk).update(**taken, attempts=F("attempts") + 1)
    run.refresh_from_db()
    _notify(run.pk)
    return run


def write(run: SteeringRun, pieces: Iterable[dict[str, Any]]) -> None:
    """Keep what came and wake who watches. Raises `LostRun`."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "SET LOCAL synchronous_commit = off"
        )  # a lost piece comes again with the run
        _hold(run)
        number = (
            SteeringDelta.objects.filter(run=run).aggregate(last=Coalesce(Max("number"), 0))["last"]
            + 1
        )
        SteeringDelta.objects.create(run=run, number=number, data=list(pieces))
        _notify(run.pk)


def beat(run: SteeringRun) -> str:
    """Renew the lease; why the run should stop, or nothing. Raises `LostRun`."""
    _hold(run)
    now = SteeringRun.objects.values("stop_requested", "watched_until").get(pk=run.pk)
    if now["stop_requested"]:
        return "Stopped."
    return "Nobody watched any more." if now["watched_until"] < timezone.now() else ""


def keep_dose(run: SteeringRun, dose: Mapping[str, Any]) -> None:
    """Note on the feature of a sweep which strength is best, or that none is: what steering with it
    begins with from now on.
    """
    intervention = run.interventions[0]
    if (intervention.method, intervention.unit) == ("add", "maximum"):
        best = None if dose["best"] is None else dose["strengths"][dose["best"]]
        Feature.objects.filter(
            sae__model=run.model_id,
            sae__slug=intervention.sae,
            sae__sha256=intervention.sha256,
            index=intervention.index,
        ).update(best_dose=best)


def finish(run: SteeringRun) -> None:
    """All of it came. Raises `LostRun`."""
    _end(run, State.FINISHED)


def stopped(run: SteeringRun, why: str) -> None:
    """It stopped because it was asked to; what came stays. Raises `LostRun`."""
    _end(run, State.STOPPED, why)


def fail(run: SteeringRun, field: str, message: str, *, passing: bool = False) -> None:
    """It cannot be run; where that may be `passing`, whoever asks for it again gets another try.
    Raises `LostRun`.
    """
    _end(run, State.FAILED, message, field=field, passing=passing)


def stop(pk: int) -> None:
    """Ask a run to stop: at once where it waits, at its next token where it runs."""
    SteeringRun.objects.filter(pk=pk, state__in=LIVE).update(stop_requested=True)
    for run in SteeringRun.objects.filter(pk=pk, state=State.QUEUED):
        _end(run, State.STOPPED, "Stopped.", by=State.QUEUED)


def watch(pk: int) -> None:
    """Somebody looks: the run goes on for `WATCHED`."""
    SteeringRun.objects.filter(pk=pk, state__in=LIVE).update(watched_until=timezone.now() + WATCHED)


def wait(pk: int, patience: float) -> bool:
    """Wait until the run is over, which keeps it going; whether it is."""
    end = time.monotonic() + patience
    with connection.cursor() as cursor:
        cursor.execute(f"LISTEN {CHANNEL}")
        try:
            while True:
                if SteeringRun.objects.filter(pk=pk, state__in=SteeringRun.FINAL).exists():
                    return True
                if (left := end - time.monotonic()) <= 0:
                    return False
                watch(pk)
                next(connection.connection.notifies(timeout=min(left, 2.0), stop_after=1), None)
        finally:
            cursor.execute(f"UNLISTEN {CHANNEL}")


def leave(pk: int) -> None:
    """Somebody went. Whoever still looks says so again before `LEFT` is over."""
    SteeringRun.objects.filter(pk=pk, state__in=LIVE).update(watched_until=timezone.now() + LEFT)
    _notify(pk)


def reap(queues: Collection[str]) -> list[int]:
    """Begin the runs of dead workers anew, and tell workers again of runs that wait; an idle worker
    of the queue asks.
    """
    now, lost = timezone.now(), []
    for run in SteeringRun.objects.filter(state=State.RUNNING, lease_until__lt=now):
        lost.append(run.pk)
        if run.attempts >= MOST_ATTEMPTS:
            message = (
                f"Its worker died {run.attempts} times. Choose fewer features, a shorter "
                "text or a smaller model."
            )
            _end(run, State.FAILED, message, passing=True)
        else:
            with transaction.atomic():
                _begin_anew(run)
                _send(run.pk)
    waits = Q(sent=None) | Q(sent__lt=now - UNSENT_AFTER)
    if QUEUE in queues:
        for pk in SteeringRun.objects.filter(waits, state=State.QUEUED).values_list(
            "pk", flat=True
        )[:20]:
            _send(pk)
    return lost


def _neutral(feature: Feature) -> list[int]:
    """Contexts that the dashboards keep in which, as far as they know, the feature does
    not fire.
    """
    fires = Example.objects.filter(feature=feature).values("sequence")
    rows = Sequence.objects.filter(model=feature.sae.model_id).exclude(pk__in=fires)
    return list(rows.order_by("pk").values_list("pk", flat=True)[:NEUTRAL])


def _begin_anew(run: SteeringRun, **changes: Any) -> None:
    """Back in the queue, with its pieces gone; whoever watches is told to forget them."""
    queued = {
        "state": State.QUEUED,
        "queued": timezone.now(),
        "ended": None,
        "lease_until": None,
        "sent": None,
    }
    mine = SteeringRun.objects.filter(pk=run.pk, state=run.state, attempts=run.attempts)
    if not mine.update(**queued, **changes):
        return
    old = SteeringDelta.objects.filter(run=run)
    number = old.aggregate(last=Coalesce(Max("number"), 0))["last"]
    old.delete()
    SteeringDelta.objects.create(run=run, number=number + 1, data=[{"again": True}])
    _notify(run.pk)


def _hold(run: SteeringRun) -> None:
    mine = SteeringRun.objects.filter(
        pk=run.pk, state=State.RUNNING, attempts=run.attempts, worker=run.worker
    )
    if not mine.update(lease_until=timezone.now() + LEASE):
        raise LostRun


def _end(
    run: SteeringRun,
    state: str,
    message: str = "",
    *,
    field: str = "",
    passing: bool = False,
    by: str = State.RUNNING,
) -> None:
    error = (
        {"field": field, "message": redaction.without_folders(message), "passing": passing}
        if message
        else None
    )
    mine = SteeringRun.objects.filter(pk=run.pk, state=by, attempts=run.attempts)
    if not mine.update(state=state, ended=timezone.now(), lease_until=None, error=error):
        if by == State.RUNNING:
            raise LostRun
        return
    _notify(run.pk)


def _may_wait(who: str) -> None:
    """Raise `TooMany` or `NoAnswer` where another run cannot be."""
    mine = SteeringRun.objects.filter(
        asked_by=who, state__in=LIVE, watched_until__gte=timezone.now()
    ).count()
    if mine >= MOST_AT_ONCE:
        raise TooMany(
            f"{mine} runs of yours are under way already. Wait for one of them, or stop it."
        )
    if not listens(QUEUE):
        raise NoAnswer(
            "No worker of the queue “inference” runs, so nobody can steer. See /jobs/workers/."
        )


def _one_at_a_time(who: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtext(%s))", [f"featurescope: steering of {who}"]
        )


def _send(pk: int) -> None:
    """Tell the workers after the commit. A broker that is down loses nothing: `reap`
    sends again.
    """
    SteeringRun.objects.filter(pk=pk).update(sent=timezone.now())

    def send() -> None:
        try:
            current_app.send_task(TASK, queue=QUEUE, retry=False)
        except (OSError, BrokerDown):
            SteeringRun.objects.filter(pk=pk).update(sent=None)

    transaction.on_commit(send)


def _notify(pk: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, str(pk)])
