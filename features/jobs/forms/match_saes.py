"""The job that finds the nearest features between two SAEs."""

from collections.abc import Mapping
from typing import Any

from django import forms

from features.jobs.forms.on_sae import OnSae


class MatchSaes(OnSae):
    """Find for every feature of two SAEs of a model the nearest of the other, by cosine of decoder
    directions.
    """

    kind = "match_saes"
    title = "Match two SAEs"
    verb = "Match"
    about = (
        "Finds for every feature of two SAEs of a model the nearest one of the other, by "
        "cosine of decoder directions."
    )

    corpus = None  # type: ignore[assignment]  # Django's way to remove what the class above has
    other = forms.CharField(
        label="Other SAE",
        help_text="As MODEL/SLUG, of the same model and reading a vector of the same width.",
    )

    @classmethod
    def headline(cls, params: Mapping[str, Any]) -> str:
        """Such as: Match tiny/2-res with tiny/3-res."""
        return f"{super().headline(params)} with {params.get('other')}"

    def clean_other(self) -> str:
        """The SAE must exist."""
        self.find_sae(self.cleaned_data["other"])
        return str(self.cleaned_data["other"])

    def clean(self) -> dict[str, Any]:
        """Two SAEs whose directions lie in one space, which no job is matching already."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        first, second = cleaned.get("sae"), cleaned.get("other")
        if first and second:
            self._compare(str(first), str(second))
        return cleaned

    def _compare(self, first: str, second: str) -> None:
        if first == second:
            self.add_error("other", "Choose another SAE: an SAE matches itself exactly.")
        elif first.partition("/")[0] != second.partition("/")[0]:
            self.add_error(
                "other",
                f"{second} reads another model than {first}: their directions cannot be compared.",
            )
        elif self.being_made(sae=first, other=second) or self.being_made(sae=second, other=first):
            self.add_error(
                "other", "A job is matching these two already; wait for it or cancel it."
            )
        else:
            one, two = self.find_sae(first), self.find_sae(second)
            if one and two and one.d_in != two.d_in:
                self.add_error(
                    "other", f"{second} reads {two.d_in} dimensions, {first} reads {one.d_in}."
                )
