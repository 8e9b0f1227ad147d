"""A worker that dies while it asks a language model."""

import pytest

from features.models import Job
from workers.jobs import llm, runner


def die_after_three(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the job until it has stored three answers; another worker may then take it."""
    store, stored = llm.store, []

    def dies(*args: object) -> None:
        store(*args)  # type: ignore[arg-type]
        stored.append(args)
        if len(stored) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(llm, "store", dies)
    with pytest.raises(KeyboardInterrupt):
        runner.run(job.pk)
    monkeypatch.setattr(llm, "store", store)
    Job.objects.filter(pk=job.pk, state="running").update(
        state="queued", lease_until=None, worker=""
    )
