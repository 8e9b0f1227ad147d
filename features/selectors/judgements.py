"""Reads of what language models said of sweeps, and of what they may be asked about."""

from typing import NamedTuple

from django.db.models import QuerySet

from features.models import Feature, SteeringRun, SweepJudgement
from features.records import InvalidInput
from features.selectors import steering as steering_selectors
from features.token_spans import text_of

LISTED = 10
"""Judgements of one run that are shown."""


class Sweep(NamedTuple):
    """A sweep that can be judged: the feature with its label, and the texts that were kept, the
    default's first.
    """

    run: SteeringRun
    feature: Feature
    label: str
    texts: list[str]


def sweep(pk: int) -> Sweep:
    """The sweep of that run. Raises `InvalidInput`."""
    try:
        view = steering_selectors.view(pk)
    except SteeringRun.DoesNotExist:
        raise InvalidInput("run", f"There is no steering run {pk}.") from None
    run = view.run
    if not run.params["strengths"]:
        raise InvalidInput(
            "run",
            f"Run {pk} is no sweep: press “Sweep strengths” on its page, and have that one judged.",
        )
    if run.state != SteeringRun.State.FINISHED or view.sweep.dose is None:
        state = run.get_state_display()
        raise InvalidInput(
            "run",
            f"Run {pk} is {state}: only a sweep that has finished has texts to judge. Wait, or "
            "start it again.",
        )
    name = f"{run.model}/{view.intervention.name}"
    if view.feature is None:
        raise InvalidInput(
            "run", f"There is no feature {name} any more, so there is no label to look for."
        )
    if view.feature.label is None:
        raise InvalidInput(
            "run",
            f"{name} has no label, so a judge has nothing to look for: write one on the "
            "feature's page.",
        )
    texts = [text_of(ids, view.vocabulary) for ids in view.sweep.dose["texts"]]
    return Sweep(run, view.feature, view.feature.label.text, texts)


def judgements(run: int) -> QuerySet[SweepJudgement]:
    """What was said of a run, newest first."""
    return SweepJudgement.objects.filter(run=run).order_by("-id")[:LISTED]
