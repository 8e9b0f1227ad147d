"""The report on an SAE's labels."""

from django.http import HttpResponse
from django.views.decorators.http import require_safe

from explorer.http.requests import HtmxRequest, page
from explorer.views.activity import tabs
from explorer.views.catalog import find_sae
from features.interchange.tables import FORMATS
from features.selectors import activity, label_report

MAX_DISPUTED = 10


@require_safe
def report(request: HtmxRequest, model: str, sae: str) -> HttpResponse:
    """Share labelled, methods with their scores, agreement, disputes, and methods head to head."""
    found = find_sae(model, sae)
    disputed = list(activity.disputed([found.pk]).order_by("-density", "id")[:MAX_DISPUTED])
    stood = activity.rivals(disputed)
    context = {
        "sae": found,
        "report": label_report.report(found),
        "disputed": [(row, stood[row.pk]) for row in disputed],
        "formats": [(kind, name) for kind, (name, _type) in FORMATS.items()],
    }
    return page(request, "labels/report.html", context | tabs(request))
