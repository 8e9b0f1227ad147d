"""Reads of what language models said of sweeps, and of what they may be asked about."""

from django.db.models import QuerySet

from features.models import SweepJudgement

LISTED = 10
"""Judgements of one run that are shown."""


def judgements(run: int) -> QuerySet[SweepJudgement]:
    """What was said of a run, newest first."""
    return SweepJudgement.objects.filter(run=run).order_by("-id")[:LISTED]
