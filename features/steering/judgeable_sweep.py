"""Sweeps whose texts a language model can judge."""

from typing import NamedTuple

from features.models import Feature, SteeringRun
from features.records import InvalidInput
from features.steering import run_views
from features.token_spans import text_of


class JudgeableSweep(NamedTuple):
    """A finished sweep: its feature, the label to look for, its texts with the default first."""

    run: SteeringRun
    feature: Feature
    label: str
    texts: list[str]


def load_judgeable_sweep(pk: int) -> JudgeableSweep:
    """The sweep of a steering run. Raises `InvalidInput` with the reason if it cannot be judged."""
    try:
        view = run_views.view(pk)
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
    return JudgeableSweep(run, view.feature, view.feature.label.text, texts)
