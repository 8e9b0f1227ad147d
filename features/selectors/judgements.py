"""Judgements of sweeps by language models."""

from django.db.models import QuerySet

from features.models import SweepJudgement

LISTED = 10
"""Judgements of one run that are shown."""


def judgements(run: int) -> QuerySet[SweepJudgement]:
    """Judgements of a run, newest first."""
    return SweepJudgement.objects.filter(run=run).order_by("-id")[:LISTED]
