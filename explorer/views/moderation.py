"""Moderation: open reports, hidden labels and comments, the log; suspensions and roles."""

from collections.abc import Callable

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.views.decorators.http import require_POST, require_safe

from explorer import access, roles
from explorer.access import curators_only
from explorer.http.requests import HtmxRequest, page
from explorer.models import User
from explorer.views.activity import tabs
from features.db import keyset
from features.models import Flag
from features.records import InvalidInput
from features.selectors import moderation as moderation_selectors
from features.services import moderation as moderation_services

PAGE = 40


@require_safe
@curators_only
def index(request: HtmxRequest) -> HttpResponse:
    """Open reports, the latest hidden labels and comments, and the log of moderation."""
    rows = moderation_selectors.trail()
    log, _ = keyset.page_or_first(
        lambda cursor: keyset.page(rows, ["-id"], limit=PAGE, cursor=cursor, of="trail"),
        request.GET.get("cursor", ""),
    )
    context = {
        "flags": moderation_selectors.open_flags()[:PAGE],
        "labels": moderation_selectors.hidden_labels()[:PAGE],
        "comments": moderation_selectors.hidden_comments()[:PAGE],
        "suspended": User.objects.filter(suspended__isnull=False).order_by("username"),
        "log": log.rows,
        "next": log.next,
    }
    return page(request, "labels/moderation.html", context | tabs(request))


@require_POST
@curators_only
def decide(request: HtmxRequest, pk: int) -> HttpResponseBase:
    """Hide the reported label or comment, or keep it; either closes all its open reports."""
    flag = Flag.objects.select_related("label", "comment").filter(pk=pk).first()
    if flag is None:
        raise Http404(f"There is no report {pk}; what it was of was deleted meanwhile.")
    target, why = flag.label or flag.comment, request.POST.get("reason", "")
    assert target is not None  # a_flag_is_of_one_thing
    if request.POST.get("hide"):
        return _decide(
            request,
            lambda: moderation_services.hide(target, by=request.user, reason=why),
            "It is hidden.",
        )
    return _decide(
        request,
        lambda: moderation_services.dismiss(flag, by=request.user, reason=why),
        "It stays as it is.",
    )


@require_POST
@curators_only
def suspend(request: HtmxRequest, username: str) -> HttpResponseBase:
    """Suspend a user, or lift the suspension."""
    member, curator = _member(username), _curator(request)
    if not access.may_suspend(curator, member):
        raise PermissionDenied(
            "Curators suspend members, staff suspend curators too; staff cannot be suspended."
        )
    change = roles.suspend if request.POST.get("suspend") == "1" else roles.unsuspend
    change(member, by=curator, reason=request.POST.get("reason", ""))
    return redirect("labels_by", member.username)


@require_POST
@curators_only
def change_role(request: HtmxRequest, username: str) -> HttpResponseBase:
    """For staff."""
    member, staff = _member(username), _curator(request)
    if not access.may_change_roles(staff):
        raise PermissionDenied("Only staff change roles.")
    roles.make_curator(member, request.POST.get("curator") == "1", by=staff)
    return redirect("labels_by", member.username)


def _decide(request: HtmxRequest, decision: Callable[[], object], success: str) -> HttpResponseBase:
    try:
        decision()
        messages.success(request, success)
    except InvalidInput as error:
        messages.error(request, error.message)
    return redirect("moderation")


def _member(username: str) -> User:
    member = User.objects.filter(username=username).first()
    if member is None:
        raise Http404(f"There is no user “{username}” here.")
    return member


def _curator(request: HtmxRequest) -> User:
    assert isinstance(request.user, User)  # behind curators_only
    return request.user
