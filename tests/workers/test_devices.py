"""Where a worker computes, and on how many threads."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from workers import devices, tasks
from workers.lifecycle import reaper


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_a_worker_computes_on_as_many_threads_as_it_is_told_and_says_so(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DEVICE, settings.THREADS = "cpu", 3
    monkeypatch.setattr(reaper, "start", lambda consumer: None)
    tasks.begin(sender=None)
    assert torch.get_num_threads() == 3
    assert devices.worker_state().device == "cpu, 3 threads"


def test_told_nothing_it_leaves_that_to_torch(settings: Any) -> None:
    settings.THREADS, before = 0, torch.get_num_threads()
    devices.limit_threads()
    assert torch.get_num_threads() == before
