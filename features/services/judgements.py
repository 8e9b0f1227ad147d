"""Writing the judgement of a sweep by a language model."""

from collections.abc import Mapping
from typing import Any

from features.models import Job, SteeringRun, SweepJudgement
from features.models.judgement import Scores
from features.records import InvalidInput
from features.steering.judgeable_sweep import JudgeableSweep


def write(
    sweep: JudgeableSweep, job: Job, judge: str, scores: Mapping[str, Scores], **counts: Any
) -> SweepJudgement:
    """Keep the scores of every text, and what they cost, beside the run. Raises `InvalidInput`
    where that is gone.
    """
    if not SteeringRun.objects.select_for_update(no_key=True).filter(pk=sweep.run.pk).exists():
        raise InvalidInput("run", f"There is no steering run {sweep.run.pk} any more.")
    return SweepJudgement.objects.create(
        run=sweep.run, job=job, judge=judge, label=sweep.label, **scores, **counts
    )
