"""Home, a model, an SAE with its features, and the definitions of all numbers."""

from collections import defaultdict
from itertools import chain
from typing import Any

from django.http import HttpResponse
from django.views.decorators.http import require_safe

from explorer import access
from explorer.definitions import DEFINITIONS, GROUPS
from explorer.forms.features import BrowseForm, MapForm
from explorer.http.requests import Choice, HtmxRequest, NotHere, page
from features import hook_names
from features.db import keyset
from features.models import LanguageModel, Sae
from features.selectors import catalog as catalog_selectors
from features.selectors import feature_lists
from features.selectors import maps as map_selectors

MAX_CHOICES = 20
MAX_JOBS = 6
MAX_PLOTTED_SAES = 1500
"""Dots of the map that the server draws; the script draws all."""
SHOWN_ELSEWHERE = frozenset(
    {
        "hook",
        "model",
        "corpus",
        "width",
        "slug",
        "then",
        "prepend_bos",
        "norm_ratio",
        "first_positions",
    }
)
BOOKKEEPING = frozenset(
    {"device", "dtype", "d_in", "d_sae", "architecture", "hook_name", "hook_point", "model_name"}
)
TRAINING = ("explained_variance", "l0", "dead_share")
"""Metrics of the last training step, shown until an SAE is evaluated."""


@require_safe
def home(request: HtmxRequest) -> HttpResponse:
    """The models with their SAEs, and the jobs that run now."""
    saes = defaultdict(list)
    for sae in catalog_selectors.saes_with_labels():
        saes[sae.model_id].append(sae)
    context = {
        "models": [(model, saes[model.pk]) for model in catalog_selectors.models()],
        "happening": catalog_selectors.happening()[:MAX_JOBS],
        "may_start_jobs": access.may_start_jobs(request.user),
    }
    return page(request, "catalog/home.html", context, {"live": "live"})


@require_safe
def model(request: HtmxRequest, model: str) -> HttpResponse:
    """A model's shape, hooks and SAEs."""
    owner = find_model(model)
    saes = list(catalog_selectors.saes_with_labels(model))
    covered = defaultdict(list)
    for sae in saes:
        covered[sae.hook].append(sae)
    context = {
        "model": owner,
        "saes": saes,
        "hooks": [(hook, covered[hook]) for hook in owner.hooks],
        "missing_hooks": hook_names.group_by_reason(owner.hook_refusals or {}),
        "happening": catalog_selectors.happening(model)[:MAX_JOBS],
        "may_start_jobs": access.may_start_jobs(request.user),
    }
    return page(request, "catalog/model.html", context, {"happening": "happening"})


@require_safe
def sae(request: HtmxRequest, model: str, sae: str) -> HttpResponse:
    """An SAE: its quality, its settings and its features."""
    row = find_sae(model, sae)
    form = BrowseForm(request.GET)
    arguments = form.arguments()
    listed, wrong = keyset.page_or_first(
        lambda cursor: feature_lists.page(row, **arguments | {"cursor": cursor}),
        arguments["cursor"],
    )
    if wrong:
        form.add_error(None, wrong)
    context = {
        "sae": row,
        "form": form,
        "columns": form.chosen_columns(),
        "rows": [(feature, listed.snippets.get(feature.pk, [])) for feature in listed.features],
        "next": listed.next,
        "settings": settings_of(row),
        "quality": quality(row),
        "happening": catalog_selectors.happening(model, sae)[:MAX_JOBS],
        "may_start_jobs": access.may_start_jobs(request.user),
    }
    if not request.htmx:
        context |= map_of(request, row)
    return page(
        request,
        "catalog/sae.html",
        context,
        {"features": "features", "more": "rows", "happening": "happening"},
    )


def map_of(request: HtmxRequest, sae: Sae) -> dict[str, Any]:
    """The map as it is before its script runs, and its colours; empty if there is none."""
    form = MapForm(request.GET)
    dashboard = getattr(sae, "dashboard", None)
    drawn = map_selectors.sample(dashboard, MAX_PLOTTED_SAES) if dashboard and dashboard.map else ()
    return {
        "map": drawn,
        "map_form": form,
        "color": form.chosen(),
        "sampled": sae.width > MAX_PLOTTED_SAES,
    }


def settings_of(sae: Sae) -> list[tuple[str, object]]:
    """The settings of an SAE; of an imported one without the bookkeeping of its files."""
    settings = ((name, value) for name, value in sae.config.items() if name not in SHOWN_ELSEWHERE)
    if not sae.origin:
        return list(settings)
    return [
        (name, value)
        for name, value in settings
        if name not in BOOKKEEPING and isinstance(value, str | int | float)
    ]


def quality(sae: Sae) -> list[tuple[str, float]]:
    """An SAE's quality as (term, value): its evaluation on held-out text, else the test of its
    import, else its last training step.
    """
    if sae.evaluation:
        values = {f"eval_{name}": value for name, value in sae.evaluation["values"].items()}
        return [(term, values[term]) for term in DEFINITIONS if term in values]
    if sae.origin:
        values = {f"eval_{name}": value for name, value in sae.origin["test"]["values"].items()}
        return [(term, values[term]) for term in DEFINITIONS if term in values]
    metrics = sae.training_metrics
    return [(f"job_{name}", metrics[name]) for name in TRAINING if name in metrics]


@require_safe
def about(request: HtmxRequest) -> HttpResponse:
    """Every number with its definition."""
    return page(request, "catalog/about.html", {"groups": GROUPS})


def find_model(slug: str) -> LanguageModel:
    """The model, or a 404 that lists the models."""
    try:
        return catalog_selectors.model(slug)
    except LanguageModel.DoesNotExist:
        choices = [
            Choice(m.slug, m.get_absolute_url()) for m in catalog_selectors.models()[:MAX_CHOICES]
        ]
        raise NotHere(f"There is no model “{slug}”.", choices) from None


def find_sae(model: str, slug: str) -> Sae:
    """The SAE, or a 404 that lists the model's SAEs."""
    try:
        return catalog_selectors.sae(model, slug)
    except Sae.DoesNotExist:
        of = find_model(model)
        others = (
            Choice(str(sae), sae.get_absolute_url())
            for sae in catalog_selectors.saes(model)[:MAX_CHOICES]
        )
        raise NotHere(
            f"{model} has no SAE “{slug}”.", chain([Choice(of.slug, of.get_absolute_url())], others)
        ) from None
