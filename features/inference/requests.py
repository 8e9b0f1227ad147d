"""Asking the warm models of the inference workers, and waiting for what they say.

    result = answers.ask({"kind": "read", "model": "demo-python", ...})      # on the website
    answers.give(key, result)                                                # on a worker

The question is a row whose key is its hash: who asks the same while it is being answered, or
shortly after, gets the same answer without any work. A notice wakes who waits.
"""

import hashlib
import json
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import psycopg
from celery import current_app
from django.db import connection, transaction
from django.utils import timezone
from kombu.exceptions import OperationalError as BrokerDown

from features import redaction
from features.models import Answer
from features.records import InvalidInput
from features.selectors.workers import listens

TASK = "workers.answer"
QUEUE = "inference"
CHANNEL = "featurescope_answer"
PATIENCE = 30.0
"""Seconds: a worker that loads a model first takes most of them."""
LOST_AFTER = timedelta(seconds=20)
"""A question that nobody answered for so long is sent again where somebody asks it again."""
KEPT = timedelta(hours=1)


class NoAnswer(Exception):
    """Nobody answered in time; the message is for the person who waits."""


def ask(question: Mapping[str, Any], patience: float = PATIENCE) -> dict[str, Any]:
    """The answer, computed now or kept from before. Raises `InvalidInput` and `NoAnswer`."""
    key = hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()
    row, new = Answer.objects.get_or_create(key=key, defaults={"question": dict(question)})
    if row.error and row.error["passing"] and not new:
        Answer.objects.filter(key=key).update(
            answered=None, error=None, asked=timezone.now() - 2 * LOST_AFTER
        )
        row.answered = None
    if row.answered is None:
        _somebody_listens()
        stale = Answer.objects.filter(key=key, answered=None, asked__lt=timezone.now() - LOST_AFTER)
        if new or stale.update(asked=timezone.now()):
            _send(key)
        row = _wait(key, patience)
    if row.error:
        raise InvalidInput(row.error["field"], row.error["message"])
    return dict(row.result or {})


def question(key: str) -> dict[str, Any] | None:
    """What is asked; None where that was answered already, or is forgotten."""
    row = Answer.objects.filter(key=key, answered=None).first()
    return dict(row.question) if row else None


def give(key: str, result: Mapping[str, Any]) -> None:
    """Answer, and wake who waits."""
    _answered(key, result=dict(result))


def refuse(key: str, field: str, message: str, *, passing: bool = False) -> None:
    """Say why there is no answer; where that may be `passing`, the next who asks makes us try
    again.
    """
    _answered(
        key,
        error={"field": field, "message": redaction.without_folders(message), "passing": passing},
    )


def forget() -> None:
    """Remove old questions with their answers."""
    Answer.objects.filter(asked__lt=timezone.now() - KEPT).delete()


def _answered(key: str, **changes: Any) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        Answer.objects.filter(key=key).update(answered=timezone.now(), **changes)
        cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, key])


def _wait(key: str, patience: float) -> Answer:
    """Listen before looking, so that no answer falls between."""
    end = time.monotonic() + patience
    with connection.cursor() as cursor:
        cursor.execute(f"LISTEN {CHANNEL}")
        try:
            while True:
                row = Answer.objects.filter(key=key).exclude(answered=None).first()
                left = end - time.monotonic()
                if row is not None:
                    return row
                if left <= 0:
                    raise NoAnswer(
                        "No worker answered. Is one of the queue “inference” running? See "
                        "/jobs/workers/."
                    )
                _next_notice(key, min(left, 2.0))
        finally:
            cursor.execute(f"UNLISTEN {CHANNEL}")


def _next_notice(key: str, seconds: float) -> None:
    """Return at a notice of this key, or after so many seconds."""
    try:
        for notice in connection.connection.notifies(timeout=seconds):
            if notice.payload == key:
                return
    except psycopg.OperationalError:
        raise NoAnswer("The database restarted meanwhile. Ask again.") from None


def _somebody_listens() -> None:
    """Raise `NoAnswer` at once where waiting is in vain."""
    if not listens(QUEUE):
        raise NoAnswer(
            "No worker of the queue “inference” runs, so nobody can answer. See /jobs/workers/."
        )


def _send(key: str) -> None:
    try:
        current_app.send_task(TASK, args=[key], queue=QUEUE, retry=False)
    except (OSError, BrokerDown):
        raise NoAnswer("The message broker does not answer, so no worker can be asked.") from None
