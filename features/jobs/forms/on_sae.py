"""What jobs on an existing SAE have in common."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django import forms

from features.jobs.forms.base import JobForm
from features.models import Dashboard
from features.records import MAX_FIRST_POSITIONS, MAX_NORM_RATIO

TOKENS_HELP = "Special tokens are not counted. More tokens catch rarer features and take longer."
NORM_RATIO_HELP = (
    "Leaves out tokens whose activation at the hook has a norm above this many times the median, "
    "such as attention sinks: they would swamp averages and maxima. 0 counts them."
)
FIRST_POSITIONS_HELP = "Tokens at the start of each context that are left out, after special ones."
AS_TRAINED = "Leave it empty for what the SAE was trained with."


def norm_ratio_field(initial: float | None, more_help: str = "") -> forms.FloatField:
    """The setting `CountingRule.norm_ratio`; empty where `initial` is None."""
    return forms.FloatField(
        min_value=0,
        max_value=MAX_NORM_RATIO,
        initial=initial,
        required=initial is not None,
        label="Outliers from",
        help_text=f"{NORM_RATIO_HELP} {more_help}".strip(),
    )


def first_positions_field(initial: int | None, more_help: str = "") -> forms.IntegerField:
    """The setting `CountingRule.first_positions`; empty where `initial` is None."""
    return forms.IntegerField(
        min_value=0,
        max_value=MAX_FIRST_POSITIONS,
        initial=initial,
        required=initial is not None,
        label="First tokens left out",
        help_text=f"{FIRST_POSITIONS_HELP} {more_help}".strip(),
    )


class OnSae(JobForm):
    """The SAE and the corpus."""

    verb: ClassVar[str]

    sae = forms.CharField(label="SAE", help_text="As MODEL/SLUG.")
    corpus = forms.CharField(help_text="The text to run.")

    @classmethod
    def headline(cls, params: Mapping[str, Any]) -> str:
        """Such as: Evaluate demo-python/2-res."""
        return f"{cls.verb} {params.get('sae')}"

    def clean_sae(self) -> str:
        """The SAE must exist."""
        self.find_sae(self.cleaned_data["sae"])
        return str(self.cleaned_data["sae"])

    def clean_corpus(self) -> str:
        """The corpus must exist."""
        self.find_corpus(self.cleaned_data["corpus"])
        return str(self.cleaned_data["corpus"])


class OnDashboards(OnSae):
    """An SAE that must have dashboards."""

    because: ClassVar[str]
    """What the dashboards are needed for: “which say what is alive”."""
    busy: ClassVar[str] = ""
    """What a job of this kind is doing with an SAE, of which there is one at a time; empty where
    there may be several.
    """

    def clean_sae(self) -> str:
        """The SAE must have dashboards, unless a job before this one makes it."""
        path = super().clean_sae()
        if path in self.promised:
            return path
        model, _, slug = path.partition("/")
        if not Dashboard.objects.filter(sae__model__slug=model, sae__slug=slug).exists():
            raise forms.ValidationError(
                f"{path} has no dashboards yet, {self.because}: compute them first."
            )
        if self.busy and self.being_made(sae=path):
            raise forms.ValidationError(
                f"A job {self.busy.format(path)} already; wait for it or cancel it."
            )
        return path
