"""Priority and device of a job: settings that every kind has in addition to its params."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from django import forms

from features.models import Job
from features.params_form import messages_of
from features.records import InvalidParams

PRIORITIES = {"normal": Job.Priority.NORMAL, "high": Job.Priority.HIGH, "low": Job.Priority.LOW}
DEVICES = {"any": "any", "gpu": "a GPU", "cpu": "no GPU"}
OPTIONS = {"priority": list(PRIORITIES), "device": list(DEVICES)}


class JobPlacement(NamedTuple):
    """A queue and a priority, as `jobs.create` takes them."""

    queue: str
    priority: int


class Placing(forms.Form):
    """Priority, and the device that the job's worker must have."""

    priority = forms.ChoiceField(
        choices=[(name, value.label) for name, value in PRIORITIES.items()],
        initial="normal",
        required=False,
        help_text="Jobs with a higher priority start first.",
    )
    device = forms.ChoiceField(
        choices=list(DEVICES.items()),
        initial="any",
        required=False,
        label="Worker with",
        help_text="Only a worker with this device runs the job.",
    )


def validate_placement(queue: str, data: Mapping[str, Any]) -> JobPlacement:
    """Where a job of that queue goes. Raises `InvalidParams`."""
    form = Placing(data)
    if not form.is_valid():
        raise InvalidParams(messages_of(form))
    device = form.cleaned_data["device"] or "any"
    return JobPlacement(
        queue if device == "any" else f"{queue}-{device}",
        PRIORITIES[form.cleaned_data["priority"] or "normal"],
    )


def as_placed(job: Job) -> dict[str, str]:
    """The fields of `Placing` that put another job where this one is."""
    priority = next(name for name, value in PRIORITIES.items() if value == job.priority)
    return {"priority": priority, "device": job.queue.partition("-")[2] or "any"}
