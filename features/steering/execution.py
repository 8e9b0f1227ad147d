"""What a worker does with a steering run: claim it, write its text piece by piece, and end it.

    run = execution.claim_next(worker)   # of the visitor who was served longest ago
    execution.write(run, pieces)         # and notify the watchers

Functions that take a claimed run raise `LostLease` where another worker holds it. A run whose
worker crashed starts again; a run that no page watches any more is stopped.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import F, Max, OuterRef, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone

from features import redaction
from features.inference.requests import QUEUE
from features.models import Feature, SteeringDelta, SteeringRun
from features.queue import claims, leases, messages
from features.queue.notifications import Channel, notify

TASK = "workers.steer"
LEASE = timedelta(seconds=15)
MAX_ATTEMPTS = 3
MAX_RESENT = 20
NOT_WATCHED = "Stopped because no page was watching."

State = SteeringRun.State


def claim_next(worker: str) -> SteeringRun | None:
    """Claim the next run: the oldest of the visitor who was served longest ago."""
    _end_unwatched()
    served = SteeringRun.objects.filter(
        requested_by=OuterRef("requested_by"), started__isnull=False
    ).order_by()
    last = Subquery(served.values("requested_by").annotate(last=Max("started")).values("last"))
    queued = SteeringRun.objects.filter(state=State.QUEUED).annotate(last=last)
    turns = queued.order_by(F("last").asc(nulls_first=True), "queued", "id")
    run = claims.claim(turns, worker, LEASE)
    if run is not None:
        notify(Channel.STEERING, run.pk)
    return run


def renew_lease(run: SteeringRun) -> str:
    """Renew the lease; return why the run should stop, or "" where it should not."""
    leases.renew(run, LEASE)
    row = SteeringRun.objects.values("stop_requested", "watched_until").get(pk=run.pk)
    if row["stop_requested"]:
        return "Stopped."
    return NOT_WATCHED if row["watched_until"] < timezone.now() else ""


def write(run: SteeringRun, pieces: Iterable[dict[str, Any]]) -> None:
    """Write the next pieces of a run, and notify its watchers."""
    with transaction.atomic(), connection.cursor() as cursor:
        # a piece that is lost in a crash is computed again with the run
        cursor.execute("SET LOCAL synchronous_commit = off")
        leases.renew(run, LEASE)
        number = _last_number(run) + 1
        SteeringDelta.objects.create(run=run, number=number, data=list(pieces))
        notify(Channel.STEERING, run.pk)


def store_best_dose(run: SteeringRun, dose: Mapping[str, Any]) -> None:
    """Store the best strength of a sweep, or that there is none, at its feature: it is the initial
    strength for steering with that feature.
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
    """End a run whose text is complete."""
    _end(run, State.FINISHED)


def end_stopped(run: SteeringRun, reason: str) -> None:
    """End a run that was asked to stop; its pieces stay."""
    _end(run, State.STOPPED, error(reason))


def fail(run: SteeringRun, field: str, message: str, *, passing: bool = False) -> None:
    """End a run that failed; after a `passing` (temporary) error the next request starts it
    again.
    """
    _end(run, State.FAILED, error(message, field, passing))


def error(message: str, field: str = "", passing: bool = False) -> dict[str, Any] | None:
    """The value of a run's `error`; None where there is no message."""
    if not message:
        return None
    return {"field": field, "message": redaction.without_folders(message), "passing": passing}


def restart(run: SteeringRun, **changes: Any) -> None:
    """Queue a run again without its pieces, notify its watchers that they are void, and send its
    message.
    """
    unchanged = SteeringRun.objects.filter(pk=run.pk, state=run.state, attempts=run.attempts)
    if claims.requeue(unchanged, queued=timezone.now(), ended=None, **changes):
        number = _last_number(run) + 1
        SteeringDelta.objects.filter(run=run).delete()
        SteeringDelta.objects.create(run=run, number=number, data=[{"again": True}])
        notify(Channel.STEERING, run.pk)
    send(run.pk)


def send(pk: int) -> None:
    """Send the workers a message about a waiting run when the transaction commits."""
    messages.send(SteeringRun.objects.filter(pk=pk), TASK, QUEUE)


def reap(queues: Collection[str]) -> list[int]:
    """Restart the runs of workers that crashed, and send the messages of waiting runs again for a
    worker of their queue. Returns the ids of the former.
    """
    lost = list(leases.expired(SteeringRun.objects.all()))
    for run in lost:
        _take_back(run)
    if QUEUE in queues:
        waiting = leases.unsent(SteeringRun.objects.filter(state=State.QUEUED))
        for pk in waiting.values_list("pk", flat=True)[:MAX_RESENT]:
            send(pk)
    return [run.pk for run in lost]


def _take_back(run: SteeringRun) -> None:
    if run.attempts < MAX_ATTEMPTS:
        with transaction.atomic():
            return restart(run)
    message = (
        f"Its worker crashed {run.attempts} times. Choose fewer features, a shorter "
        "text or a smaller model."
    )
    _end(run, State.FAILED, error(message, passing=True))


def _end_unwatched() -> None:
    waiting = SteeringRun.objects.filter(state=State.QUEUED)
    for pk in waiting.filter(watched_until__lt=timezone.now()).values_list("pk", flat=True):
        if claims.close(waiting.filter(pk=pk), State.STOPPED, error=error(NOT_WATCHED)):
            notify(Channel.STEERING, pk)


def _end(run: SteeringRun, state: State, reason: dict[str, Any] | None = None) -> None:
    claims.end(run, state, error=reason)
    notify(Channel.STEERING, run.pk)


def _last_number(run: SteeringRun) -> int:
    deltas = SteeringDelta.objects.filter(run=run)
    return int(deltas.aggregate(last=Coalesce(Max("number"), 0))["last"])
