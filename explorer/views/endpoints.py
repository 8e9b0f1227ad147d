"""Endpoints of language models: those of the instance, and the user's own with their keys."""

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_POST

from explorer import access
from explorer.access import members_only
from explorer.http.requests import HtmxRequest, page
from explorer.views.activity import tabs
from features.models import Endpoint
from features.selectors.endpoints import usable_by
from features.services.endpoints import EndpointForm


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
def index(request: HtmxRequest) -> HttpResponseBase:
    """The usable endpoints, and the form of a new one."""
    form = EndpointForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        shared = bool(request.POST.get("shared")) and access.may_start_jobs(request.user)
        endpoint = form.save_for(None if shared else request.user)
        messages.success(request, f"{endpoint} is saved. Its key cannot be shown again.")
        return redirect("endpoints")
    return _render_endpoints(request, form, None)


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
def change(request: HtmxRequest, slug: str) -> HttpResponseBase:
    """Change an endpoint; an empty key leaves the stored one."""
    endpoint = _own(request, slug)
    form = EndpointForm(request.POST or None, instance=endpoint)
    if request.method == "POST" and form.is_valid():
        form.save_for(endpoint.owner)
        messages.success(request, f"{endpoint} is changed.")
        return redirect("endpoints")
    return _render_endpoints(request, form, endpoint)


@require_POST
@members_only
def delete(request: HtmxRequest, slug: str) -> HttpResponseBase:
    """Delete an endpoint with its key; jobs that name it fail and say so."""
    _own(request, slug).delete()
    messages.success(request, f"{slug} is deleted, and its key with it.")
    return redirect("endpoints")


def _own(request: HtmxRequest, slug: str) -> Endpoint:
    """An endpoint that the user may change: their own, and for staff those of the instance."""
    endpoint = Endpoint.objects.filter(slug=slug).first()
    if endpoint is None or (endpoint.owner_id is not None and endpoint.owner_id != request.user.pk):
        raise Http404(f"There is no endpoint “{slug[:60]}” of yours.")
    if endpoint.owner_id is None and not access.may_start_jobs(request.user):
        raise PermissionDenied("Only staff may change the endpoints of this instance.")
    return endpoint


def _render_endpoints(
    request: HtmxRequest, form: EndpointForm, changing: Endpoint | None
) -> HttpResponse:
    context = {
        "form": form,
        "endpoints": usable_by(request.user.pk),
        "changing": changing,
        "staff": access.may_start_jobs(request.user),
    }
    return page(
        request,
        "labels/endpoints.html",
        context | tabs(request),
        status=422 if form.errors else 200,
    )
