"""What curators do: open reports, what is hidden, the trail; suspending people and
changing roles.
"""

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
    """Open reports, what was hidden last, and the trail of what moderators did."""
    rows = moderation_selectors.trail()
    trail, _ = keyset.page_or_first(
        lambda cursor: keyset.page(rows, ["-id"], limit=PAGE, cursor=cursor, of="trail"),
        request.GET.get("cursor", ""),
    )
    context = {
        "flags": moderation_selectors.open_flags()[:PAGE],
        "labels": moderation_selectors.hidden_labels()[:PAGE],
        "comments": moderation_selectors.hidden_comments()[:PAGE],
        "suspended": User.objects.filter(suspended__isnull=False).order_by("username"),
        "trail": trail.rows,
        "next": trail.next,
    }
    return page(request, "labels/moderation.html", context | tabs(request))


@require_POST
@curators_only
def decide(request: HtmxRequest, pk: int) -> HttpResponseBase:
    """Hide what a report is of, or leave it as it is; either closes every open report of it."""
    flag = Flag.objects.select_related("label", "comment").filter(pk=pk).first()
    if flag is None:
        raise Http404(f"There is no report {pk}; what it was of was deleted meanwhile.")
    target, why = flag.label or flag.comment, request.POST.get("reason", "")
    assert target is not None  # a_flag_is_of_one_thing
    if request.POST.get("hide"):
        return _done(
            request,
            lambda: moderation_services.hide(target, by=request.user, reason=why),
            "It is hidden.",
        )
    return _done(
        request,
        lambda: moderation_services.dismiss(flag, by=request.user, reason=why),
        "It stays as it is.",
    )


@require_POST
@curators_only
def suspend(request: HtmxRequest, username: str) -> HttpResponseBase:
    """Suspend somebody, or lift the suspension."""
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
    """Make a member a curator, or a curator a member; for staff."""
    member, staff = _member(username), _curator(request)
    if not access.may_change_roles(staff):
        raise PermissionDenied("Only staff change roles.")
    roles.make_curator(member, request.POST.get("curator") == "1", by=staff)
    return redirect("labels_by", member.username)


def _done(request: HtmxRequest, act: Callable[[], object], said: str) -> HttpResponseBase:
    try:
        act()
        messages.success(request, said)
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
