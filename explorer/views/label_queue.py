"""The queue of features that need a label: one after the other, by keyboard, on one page."""

from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from explorer import access
from explorer.forms.drafts import (
    NO_DRAFT,
    Draft,
    labels_context,
    redirect_to_sign_in,
    take_draft,
    try_to_write,
)
from explorer.http.requests import HtmxRequest, page
from explorer.views.activity import tabs
from explorer.views.features import find_feature
from features.db import keyset
from features.models import Sae
from features.selectors import catalog as catalog_selectors
from features.selectors import label_queue
from features.services import labels as label_services

EXAMPLES = 8


@require_http_methods(["GET", "HEAD", "POST"])
def show(request: HtmxRequest) -> HttpResponseBase:
    """The next feature; a POST labels the feature, or skips it if the text is empty."""
    saes = list(catalog_selectors.searchable())
    named = request.GET.get("sae", "")
    sae = next((sae for sae in saes if str(sae) == named), saes[0] if saes and not named else None)
    if sae is None:
        context = {"saes": saes, "unknown": named} | tabs(request)
        return page(
            request, "labels/queue.html", context, {"queue": "queue"}, 404 if named else 200
        )
    if request.method == "POST":
        return _label_or_skip(request, sae, saes)
    return _page(request, sae, saes, request.GET.get("after", ""), take_draft(request))


def _label_or_skip(request: HtmxRequest, sae: Sae, saes: list[Sae]) -> HttpResponseBase:
    """Save the label or skip the feature, and show the next."""
    index, after = request.POST.get("index", "")[:10], request.POST.get("here", "")
    url = f"{reverse('queue')}?{urlencode({'sae': str(sae), 'after': after})}"
    if not request.POST.get("text", "").strip():
        after = request.POST.get("next", "")
        return _next_page(request, sae, saes, after)
    if not request.user.is_authenticated:
        return redirect_to_sign_in(request, "propose", url)
    view = find_feature(
        sae.model.slug, sae.slug, int(index) if index.isascii() and index.isdecimal() else -1
    )
    draft = try_to_write(
        request,
        "propose",
        lambda: label_services.propose(
            view.feature, request.POST["text"], by=request.user, weight=access.weight(request.user)
        ),
    )
    if draft is None:
        return _next_page(request, sae, saes, after)
    return _page(request, sae, saes, after, draft, 422 if access.may_write(request.user) else 403)


def _next_page(request: HtmxRequest, sae: Sae, saes: list[Sae], after: str) -> HttpResponseBase:
    if request.htmx:
        return _page(request, sae, saes, after, NO_DRAFT)
    return redirect(f"{reverse('queue')}?{urlencode({'sae': str(sae), 'after': after})}")


def _page(
    request: HtmxRequest, sae: Sae, saes: list[Sae], after: str, draft: Draft, status: int = 200
) -> HttpResponse:
    (row, skip), wrong = keyset.page_or_first(
        lambda cursor: label_queue.first(sae, request.user.pk, cursor), after
    )
    if wrong:
        after = ""
    context: dict[str, Any] = {
        "saes": saes,
        "sae": sae,
        "left": label_queue.left(sae, request.user.pk),
        "position": after,
        "skip": skip,
        "wrong": wrong,
    }
    if row:
        view = find_feature(sae.model.slug, sae.slug, row.index)
        context |= labels_context(request, view.feature, draft) | {
            "view": view,
            "examples": _examples(view),
        }
    if not request.htmx:
        context |= tabs(request)
    return page(
        request, "labels/queue.html", context, {"queue": "queue"}, 200 if request.htmx else status
    )


def _examples(view: Any) -> list[Any]:
    return next((band.examples[:EXAMPLES] for band in view.bands if band.number == 0), [])
