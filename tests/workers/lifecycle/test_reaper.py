"""What keeps jobs of dead workers from being lost must not die itself."""

import pytest

from workers.lifecycle import reaper


class Enough(BaseException):
    """Ends the loop that has no end."""


def test_whatever_goes_wrong_in_one_round_the_next_one_comes(monkeypatch):
    rounds = []

    def look(*_):
        rounds.append(1)
        if len(rounds) == 3:
            raise Enough
        raise RuntimeError("a store that answers strangely")

    monkeypatch.setattr(reaper.worker_services, "here", look)
    monkeypatch.setattr(reaper, "EVERY_SECONDS", 0)
    with pytest.raises(Enough):
        reaper._run([])
    assert len(rounds) == 3
