"""A worker that dies while it asks a language model."""

import pytest

from features.models import Job
from workers.jobs import llm, runner


def die_after_three(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the job until it has kept three answers; another worker may then take it."""
    keep, kept = llm.keep, []

    def dies(*args: object) -> None:
        keep(*args)  # type: ignore[arg-type]
        kept.append(args)
        if len(kept) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(llm, "keep", dies)
    with pytest.raises(KeyboardInterrupt):
        runner.run(job.pk)
    monkeypatch.setattr(llm, "keep", keep)
    Job.objects.filter(pk=job.pk, state="running").update(
        state="queued", lease_until=None, worker=""
    )
