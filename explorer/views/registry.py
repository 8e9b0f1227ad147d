"""The registry of published SAEs: browse it by model, hook and words, and start an import."""

from urllib.parse import urlencode

from django.http import HttpResponse
from django.views.decorators.http import require_safe

from explorer import access
from explorer.forms.features import RegistryForm
from explorer.http.requests import HtmxRequest, page
from features.selectors import saelens_registry as registry_selectors
from features.selectors.saelens_registry import PublishedSae

PAGE = 50


@require_safe
def index(request: HtmxRequest) -> HttpResponse:
    """Releases, or with filters their SAEs, `PAGE` at a time."""
    form = RegistryForm(request.GET)
    wanted, start = form.arguments()
    found = registry_selectors.search(wanted, registry_selectors.models_here())
    rows = [(row, _import(row)) for row in found[start : start + PAGE]] if wanted.is_narrow else []
    context = {
        "form": form,
        "wanted": wanted,
        "groups": [] if wanted.is_narrow else registry_selectors.by_release(found),
        "rows": rows,
        "found": len(found),
        "next": start + PAGE if wanted.is_narrow and len(found) > start + PAGE else None,
        "may_start_jobs": access.may_start_jobs(request.user),
    }
    return page(request, "registry/index.html", context, {"found": "found", "more": "rows"})


def _import(row: PublishedSae) -> str:
    """URL of the form that imports the SAE, or adds its model from the hub first; else empty."""
    if row.entry.refusal:
        return ""
    if row.model:
        parameters = {"model": row.model.slug, "slug": row.entry.slug, "source": row.entry.source}
        return f"/jobs/new/add_sae/?{urlencode(parameters)}"
    if "/" in row.entry.model:
        return f"/jobs/new/add_model/?{urlencode({'source': row.entry.model})}"
    return ""
