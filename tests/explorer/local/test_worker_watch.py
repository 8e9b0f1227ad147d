"""Which workers `manage.py up` ends: those that hang, and none that had nobody to speak to."""

import signal
import socket
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.db import OperationalError
from django.utils import timezone

from explorer.management.commands import up
from features.models import Worker
from features.selectors import workers as worker_selectors
from features.selectors.workers import MUTE_AFTER, WorkerView

PID = 4711


@pytest.fixture
def watch(monkeypatch, settings):
    """Look once at a worker that last spoke so long ago; what it was sent by then."""
    settings.DATABASE_IS_EMBEDDED = False
    sent: list[signal.Signals] = []
    child = SimpleNamespace(
        name="jobs",
        process=SimpleNamespace(pid=PID),
        alive=lambda: True,
        lived=lambda: 1e6,
        signal=sent.append,
    )
    command = up.Command()

    def look(ago: timedelta | None) -> list[signal.Signals]:
        def workers():
            if ago is None:
                raise OperationalError("it starts")
            worker = Worker(name=f"{socket.gethostname()}:{PID}", seen=timezone.now() - ago)
            return [WorkerView(worker, None, "silent" if ago > MUTE_AFTER else "idle")]

        monkeypatch.setattr(worker_selectors, "workers", workers)
        command._watch(SimpleNamespace(children=[child]))
        return sent

    return look


LONG, SHORT = MUTE_AFTER * 2, timedelta(seconds=1)


def test_a_worker_that_stays_mute_is_ended(watch):
    assert [len(watch(LONG)) for _ in range(up.MUTE_LOOKS)] == [0] * (up.MUTE_LOOKS - 1) + [1]


def test_a_worker_that_had_no_time_yet_to_speak_again_is_left_alone(watch):
    """The machine slept, or the database was away: the first look after it finds that all were
    silent for long.
    """
    for _ in range(3):
        assert not [sent for ago in [*[LONG] * (up.MUTE_LOOKS - 1), SHORT] for sent in watch(ago)]
        assert not [sent for ago in [*[LONG] * (up.MUTE_LOOKS - 1), None] for sent in watch(ago)]
