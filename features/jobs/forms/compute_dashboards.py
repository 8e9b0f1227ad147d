"""The job that makes dashboards, of one SAE or of several of one model."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar

from django import forms

from features.formfields import ListField
from features.jobs.forms.base import FollowUp, Shape
from features.jobs.forms.on_sae import (
    AS_TRAINED,
    TOKENS_HELP,
    OnSae,
    first_positions_field,
    norm_ratio_field,
)
from features.models import Job, Sae

MAX_SHARDS = 64
MAX_SAES = 4
"""SAEs that one job reads at once: each takes memory of its own (docs/running.md says how much)."""


class SaePaths(ListField):
    """One SAE or several as MODEL/SLUG, with spaces or commas between or as a list; cleaned to a
    text with spaces.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(forms.CharField(max_length=200), **kwargs)

    def clean(self, value: Any) -> str:
        """The paths in their order, each once."""
        found = super().clean(",".join(value.split()) if isinstance(value, str) else value)
        return " ".join(found) if isinstance(found, list) else str(found)


class ComputeDashboards(OnSae):
    """Run an SAE, or several of one model at once, over a corpus and keep what each feature fires
    on.
    """

    kind = "compute_dashboards"
    title = "Make dashboards"
    verb = "Compute dashboards of"
    about = (
        "One pass over the corpus: top examples, samples of every band, histograms and "
        "logits of every feature."
    )
    part: ClassVar[str] = "scan_shard"
    assumed_speed = 4e10

    sae = SaePaths(  # type: ignore[assignment]
        label="SAE",
        help_text="As MODEL/SLUG. Several SAEs of one model, separated by spaces, share one pass "
        "of the model.",
    )
    tokens = forms.IntegerField(
        min_value=1_000, max_value=10**11, initial=400_000, help_text=TOKENS_HELP
    )
    norm_ratio = norm_ratio_field(None, AS_TRAINED)
    first_positions = first_positions_field(None, AS_TRAINED)
    shards = forms.IntegerField(
        min_value=1,
        max_value=MAX_SHARDS,
        initial=1,
        help_text="Parts that workers process in parallel: one per worker. The results stay the "
        "same.",
    )

    @classmethod
    def headline(cls, params: Mapping[str, Any]) -> str:
        """Such as: Compute dashboards of demo-python/2-res and 2 others."""
        first, *others = str(params.get("sae")).split() or [""]
        rest = f" and {len(others)} other{'s' if len(others) > 1 else ''}" if others else ""
        return f"{cls.verb} {first}{rest}"

    @classmethod
    def promises(cls, params: Mapping[str, Any]) -> list[str]:
        """The SAEs: they will have dashboards."""
        return str(params["sae"]).split()

    @classmethod
    def follow_ups(cls, params: Mapping[str, Any]) -> list[FollowUp]:
        """A map and labels of each SAE."""
        labels = [
            FollowUp("label_sae", {"sae": sae, "corpus": params["corpus"]})
            for sae in cls.promises(params)
        ]
        return cls.maps(cls.promises(params)) + labels

    @classmethod
    def operations(cls, shape: Shape) -> float:
        """To encode takes 2 d width. With shards this is what one worker takes for all of them."""
        return shape.forward_to_hook + 2 * shape.weights

    @classmethod
    def maps(cls, saes: Sequence[str]) -> list[FollowUp]:
        """A map of each SAE."""
        return [FollowUp("map_sae", {"sae": sae}) for sae in saes]

    @classmethod
    def of_new_saes(cls, saes: Sequence[str], corpus: str) -> list[FollowUp]:
        """Dashboards of SAEs that a job makes, up to `MAX_SAES` at once, each followed by maps,
        then evaluations, then labels, which take longest.
        """
        jobs = []
        for first in range(0, len(saes), MAX_SAES):
            together = saes[first : first + MAX_SAES]
            last = [
                FollowUp(kind, {"sae": sae, "corpus": corpus})
                for kind in ("evaluate_sae", "label_sae")
                for sae in together
            ]
            data = {"sae": " ".join(together), "corpus": corpus}
            jobs.append(FollowUp(cls.kind, data, (*cls.maps(together), *last)))
        return jobs

    def clean_sae(self) -> str:
        """All must exist, be read alike, and be in no other job that makes dashboards: two would
        mix their ranges.
        """
        paths = str(self.cleaned_data["sae"]).split()
        if len(paths) > MAX_SAES:
            raise forms.ValidationError(
                f"These are {len(paths)} SAEs; one job takes at most {MAX_SAES}."
            )
        found = [self.find_sae(path) for path in paths]
        models = {path.partition("/")[0]: path for path in paths}
        if len(models) > 1:
            raise forms.ValidationError(
                f"{' and '.join(models.values())} read different models; one job runs one model."
            )
        for one, other in pairwise(sae for sae in found if sae):
            if _reading(one) != _reading(other):
                raise forms.ValidationError(
                    f"{one} reads {_reading(one)}, {other} {_reading(other)}: compute their "
                    "dashboards in two jobs."
                )
        live = (
            Job.objects.filter(kind=self.kind)
            .exclude(state__in=Job.FINAL)
            .values_list("params__sae", flat=True)
        )
        if busy := set(paths) & {path for sae in live for path in sae.split()}:
            raise forms.ValidationError(
                f"A job is computing the dashboards of {', '.join(sorted(busy))} already; wait for "
                "it or cancel it."
            )
        return " ".join(paths)


def _reading(sae: Sae) -> str:
    """How an SAE reads a corpus, which SAEs must share to be run together."""
    return (
        f"contexts of {sae.context_size} tokens "
        f"{'that begin with BOS' if sae.prepend_bos else 'without BOS'}"
    )
