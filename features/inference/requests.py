"""Requests to the warm models of the inference workers.

    result = inference_requests.request({"kind": "read_feature", ...})   # on the website
    inference_requests.store_result(key, result)                         # on a worker

A request is a row whose key is the hash of its params: an equal request that is made while the
first one is computed, or shortly after, gets the same result without any work.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db import OperationalError, transaction
from django.utils import timezone

from features import redaction
from features.models import InferenceRequest
from features.queue import messages
from features.queue.leases import unsent
from features.queue.notifications import Channel, notify, wait_for
from features.queue.workers import has_worker
from features.records import InvalidInput

TASK = "workers.answer"
QUEUE = "inference"
PATIENCE = 30.0
"""Seconds: a worker that loads a model first takes most of them."""
RESENT_AFTER = timedelta(seconds=20)
"""A request without a result is sent again after this, where the same is requested again."""
STORED = timedelta(hours=1)


class NoAnswer(Exception):
    """No worker answered in time; the message is for the person who waits."""


def request(params: Mapping[str, Any], patience: float = PATIENCE) -> dict[str, Any]:
    """The result, computed now or stored before. Raises `InvalidInput` and `NoAnswer`."""
    key = hashlib.sha256(json.dumps(params, sort_keys=True).encode()).hexdigest()
    rows = InferenceRequest.objects.filter(key=key)
    row, _ = InferenceRequest.objects.get_or_create(key=key, defaults={"params": dict(params)})
    if row.error and row.error["passing"]:
        rows.filter(error=row.error).update(completed=None, error=None, sent=None)
        row.completed = None
    if row.completed is None:
        _require_worker()
        if unsent(rows.filter(completed=None), RESENT_AFTER).update(sent=timezone.now()):
            _send(key)
        row = _wait(key, patience)
    if row.error:
        raise InvalidInput(row.error["field"], row.error["message"])
    return dict(row.result or {})


def pending(key: str) -> dict[str, Any] | None:
    """The params of a request; None where it has a result already, or is deleted."""
    row = InferenceRequest.objects.filter(key=key, completed=None).first()
    return dict(row.params) if row else None


def store_result(key: str, result: Mapping[str, Any]) -> None:
    """Complete a request, and wake those who wait."""
    _complete(key, result=dict(result))


def store_error(key: str, field: str, message: str, *, passing: bool = False) -> None:
    """Complete a request with the reason why there is no result; where that may be `passing`, the
    next equal request is computed anew.
    """
    message = redaction.without_folders(message)
    _complete(key, error={"field": field, "message": message, "passing": passing})


def delete_old() -> None:
    """Delete old requests with their results."""
    old = timezone.now() - STORED
    InferenceRequest.objects.filter(requested__lt=old).exclude(sent__gte=old).delete()


@transaction.atomic
def _complete(key: str, **changes: Any) -> None:
    InferenceRequest.objects.filter(key=key).update(completed=timezone.now(), **changes)
    notify(Channel.INFERENCE, key)


def _wait(key: str, patience: float) -> InferenceRequest:
    completed = InferenceRequest.objects.filter(key=key).exclude(completed=None)
    try:
        row = wait_for(Channel.INFERENCE, key, completed.first, patience)
    except OperationalError:
        raise NoAnswer("The database restarted meanwhile. Ask again.") from None
    if row is None:
        raise NoAnswer(
            "No worker answered. Is one of the queue “inference” running? See /jobs/workers/."
        )
    return row


def _require_worker() -> None:
    """Raise `NoAnswer` at once where waiting is in vain."""
    if not has_worker(QUEUE):
        raise NoAnswer("No worker of the queue “inference” is running. See /jobs/workers/.")


def _send(key: str) -> None:
    rows = InferenceRequest.objects.filter(key=key)
    if not messages.send_now(rows, TASK, QUEUE, [key]):
        raise NoAnswer("The message broker does not answer, so no worker can be asked.")
