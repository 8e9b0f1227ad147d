"""The job that has a language model judge the texts of a sweep over strengths."""

from collections.abc import Mapping
from typing import Any

from django import forms

from features.jobs.forms.llm import EndpointForm, dollars_field, tokens_field
from features.models import Job
from features.records import InvalidInput
from features.steering.judgeable_sweep import load_judgeable_sweep


class JudgeSweep(EndpointForm):
    """Ask of each text that a sweep kept how much of the feature's label is in it, and how well it
    reads.
    """

    kind = "judge_sweep"
    title = "Judge a sweep"
    about = (
        "Shows each text of a sweep over strengths to a language model behind an "
        "OpenAI-compatible endpoint, without its"
        " strength, and asks apart how much of the feature's label is in it and how well it reads."
    )
    field_order = ["run"]

    run = forms.IntegerField(
        min_value=1,
        max_value=2**53,
        label="Sweep",
        help_text="Number of a finished sweep; its page is /steer/NUMBER/.",
    )
    most_tokens = tokens_field(200_000)
    most_cost = dollars_field(1.0)

    @classmethod
    def headline(cls, params: Mapping[str, Any]) -> str:
        """Such as: Judge sweep 12."""
        return f"Judge sweep {params.get('run')}"

    @classmethod
    def unfinished(cls, run: int) -> Job | None:
        """The job that is having this sweep judged, if there is one."""
        jobs = Job.objects.filter(kind=cls.kind, params__run=run)
        return jobs.exclude(state__in=Job.FINAL).order_by("id").first()

    def clean_run(self) -> int:
        """A finished sweep of a feature that has a label, which no job is having judged already."""
        pk = int(self.cleaned_data["run"])
        try:
            load_judgeable_sweep(pk)
        except InvalidInput as error:
            raise forms.ValidationError(error.message) from None
        if job := self.unfinished(pk):
            raise forms.ValidationError(
                f"Job {job.pk} is judging it already; wait for it or cancel it."
            )
        return pk

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not self.errors and not cleaned.get("endpoint"):
            self.add_error("endpoint", "Name the endpoint of the model that judges.")
        return cleaned
