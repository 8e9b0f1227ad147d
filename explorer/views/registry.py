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
    query, start = form.arguments()
    results = registry_selectors.search(query, registry_selectors.models_here())
    rows = [(row, _import(row)) for row in results[start : start + PAGE]] if query.is_narrow else []
    context = {
        "form": form,
        "query": query,
        "groups": [] if query.is_narrow else registry_selectors.by_release(results),
        "rows": rows,
        "total": len(results),
        "next": start + PAGE if query.is_narrow and len(results) > start + PAGE else None,
        "may_start_jobs": access.may_start_jobs(request.user),
    }
    return page(request, "registry/index.html", context, {"results": "results", "more": "rows"})


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
