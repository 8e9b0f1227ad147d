"""Compare the SAEs of a model: their evaluations in one table and two plots."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from django import forms
from django.http import HttpResponse, QueryDict
from django.views.decorators.http import require_safe

from explorer import access
from explorer.definitions import DEFINITIONS, Definition
from explorer.definitions.formats import format_value, number
from explorer.http.requests import HtmxRequest, page
from explorer.plots.svg import Spot
from explorer.views.catalog import find_model
from features import hook_names
from features.models import Matching, Sae
from features.selectors import catalog as catalog_selectors
from features.selectors import matches as match_selectors

MAX_SAES = 200
MAX_PAIRS = 24
COLUMNS = (
    "l0",
    "explained_variance",
    "ce_loss_score",
    "kl_score",
    "ce_original",
    "ce_sae",
    "ce_zero",
    "dead_share",
    "dense_share",
    "reconstruction_bias",
    "l2_ratio",
    "encoder_decoder_cosine",
    "duplicate_share",
    "explained_variance_per_token",
)
"""Of `Evaluation.values`, in the order of the table."""
ORDERS = ("slug", "width", *COLUMNS)
LOOKS = 8
"""Colours that plots tell apart."""


class CompareForm(forms.Form):
    """Which SAEs of a model to compare (all if none is named), and the order."""

    sae = forms.MultipleChoiceField(
        required=False, label="SAEs", widget=forms.CheckboxSelectMultiple
    )
    order = forms.ChoiceField(
        required=False,
        choices=[(sign + name, name) for name in ORDERS for sign in ("", "-")],
        widget=forms.HiddenInput,
    )

    def __init__(self, data: QueryDict, offered: Sequence[Sae]) -> None:
        super().__init__(data)
        field = self.fields["sae"]
        assert isinstance(field, forms.MultipleChoiceField)
        field.choices = [(sae.slug, sae.slug) for sae in offered]
        names = ", ".join(sae.slug for sae in offered[:20]) or "none yet"
        field.error_messages["invalid_choice"] = (
            f"There is no SAE “%(value)s” of this model. Known: {names}."
        )

    def chosen(self) -> tuple[list[str], str]:
        """Slugs and order; an invalid field counts as empty."""
        self.full_clean()
        return self.cleaned_data.get("sae", []), self.cleaned_data.get("order") or "slug"


class Column(NamedTuple):
    """A heading: the order that a click asks for, and how it is sorted now (ascending, descending
    or not).
    """

    definition: Definition
    order: str
    sort: str


class Row(NamedTuple):
    """An SAE with its cells as they are written; `look` is the colour of its hook in the plots."""

    sae: Sae
    cells: list[str]
    look: str


@require_safe
def compare(request: HtmxRequest, model: str) -> HttpResponse:
    """SAEs of a model, sorted, with plots of sparsity against quality."""
    owner = find_model(model)
    offered = list(catalog_selectors.saes(model)[:MAX_SAES])
    form = CompareForm(request.GET, offered)
    slugs, order = form.chosen()
    compared = ordered([sae for sae in offered if not slugs or sae.slug in slugs], order)
    looks = {hook: f"s{i % LOOKS}" for i, hook in enumerate(sorted({sae.hook for sae in compared}))}
    measured_on = {
        (sae.evaluation["corpus"], sae.evaluation["tokens"]) for sae in compared if sae.evaluation
    }
    context = {
        "model": owner,
        "form": form,
        "slugs": {sae.slug for sae in compared},
        "columns": [_column(name, order) for name in ("width", *COLUMNS)],
        "rows": [Row(sae, _cells(sae), looks[sae.hook]) for sae in compared],
        "plots": [
            (DEFINITIONS[f"eval_{name}"].name, spots(compared, name, looks))
            for name in COLUMNS[1:3]
        ],
        "looks": [(hook_names.parse_hook(hook).words, look) for hook, look in looks.items()],
        "measured_on": sorted(measured_on),
        "more": len(offered) == MAX_SAES,
        "matchings": _matchings(model, slugs),
        "may_start_jobs": access.may_start_jobs(request.user),
    }
    return page(request, "catalog/compare.html", context)


def _matchings(model: str, slugs: Sequence[str]) -> list[Matching]:
    """Matched pairs, between the chosen SAEs if some are chosen."""
    pairs = match_selectors.pairs(model)
    if slugs:
        pairs = pairs.filter(sae__slug__in=slugs, other__slug__in=slugs)
    return list(pairs[:MAX_PAIRS])


def value_of(sae: Sae, name: str) -> Any:
    """A measured value, or the SAE's width or slug; None if it was not measured."""
    return (
        getattr(sae, name)
        if name in ("width", "slug")
        else ((sae.evaluation or {}).get("values") or {}).get(name)
    )


def ordered(saes: Iterable[Sae], order: str) -> list[Sae]:
    """SAEs in order of a value, descending with a minus; those without one last, ties by slug."""
    name, falls = order.removeprefix("-"), order.startswith("-")
    by_slug = sorted(saes, key=lambda sae: sae.slug)
    with_value = [sae for sae in by_slug if value_of(sae, name) is not None]
    with_value.sort(key=lambda sae: value_of(sae, name), reverse=falls)
    return with_value + [sae for sae in by_slug if value_of(sae, name) is None]


def spots(saes: Iterable[Sae], name: str, looks: dict[str, str]) -> list[Spot]:
    """A spot for each SAE of which both L0 and that value were measured, linked to its page."""
    term = DEFINITIONS[f"eval_{name}"]
    points = []
    for sae in saes:
        x, y = value_of(sae, "l0"), value_of(sae, name)
        if x is not None and y is not None:
            name_and_values = (
                f"{sae.slug}: {number(x)} features per token, {term.name.lower()} "
                f"{format_value(term, y)}"
            )
            points.append(Spot(x, y, name_and_values, looks[sae.hook], sae.get_absolute_url()))
    return points


def _column(name: str, order: str) -> Column:
    """A column whose link sorts descending, or ascending if it is sorted descending already."""
    falling, sort = f"-{name}", {name: "ascending", f"-{name}": "descending"}.get(order, "")
    return Column(
        DEFINITIONS.get(f"eval_{name}") or DEFINITIONS[name],
        name if order == falling else falling,
        sort,
    )


def _cells(sae: Sae) -> list[str]:
    return [format_value(DEFINITIONS["width"], sae.width)] + [
        format_value(DEFINITIONS[f"eval_{name}"], value_of(sae, name)) for name in COLUMNS
    ]
