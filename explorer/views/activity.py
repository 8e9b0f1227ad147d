"""Activity around labels: the feed, disputed features, and the page of a user."""

from typing import Any

from django.http import Http404, HttpResponse
from django.views.decorators.http import require_safe

from explorer import access
from explorer.forms.labels import FeedForm
from explorer.http.requests import HtmxRequest, page
from explorer.models import User
from features.db import keyset
from features.models import Flag
from features.selectors import activity
from features.selectors import catalog as catalog_selectors
from features.selectors import moderation as moderation_selectors


@require_safe
def feed(request: HtmxRequest) -> HttpResponse:
    """The newest labels, edits, votes and comments."""
    form = FeedForm(request.GET)
    saes, person, after = form.scope(), form.person(), form.position()
    lines = activity.feed(saes=saes, person=person, after=after) if form.is_valid() else []
    context = {
        "form": form,
        "feed": lines,
        "next": str(lines[-1].position) if len(lines) == activity.PAGE else "",
        "saes": catalog_selectors.searchable(),
        "contributors": activity.contributors(),
    }
    return page(
        request, "labels/feed.html", context | tabs(request), {"feed": "feed", "more": "lines"}
    )


@require_safe
def disputed(request: HtmxRequest) -> HttpResponse:
    """Features with disputed labels, and the rival labels of each."""
    form = FeedForm(request.GET)
    saes = form.scope()
    rows, of = activity.disputed(saes), f"disputed {saes}"
    keys, limit = ["-density", "id"], activity.PAGE
    listed, wrong = keyset.page_or_first(
        lambda cursor: keyset.page(rows, keys, limit=limit, cursor=cursor, of=of),
        request.GET.get("cursor", ""),
    )
    if wrong:
        form.add_error(None, wrong)
    rivals = activity.rivals(listed.rows)
    context = {
        "form": form,
        "rows": [(row, rivals[row.pk]) for row in listed.rows],
        "next": listed.next,
    }
    return page(request, "labels/disputed.html", context | tabs(request))


@require_safe
def person(request: HtmxRequest, username: str) -> HttpResponse:
    """The labels, comments and votes of one user."""
    member = User.objects.filter(username=username).first()
    if member is None:
        raise Http404(f"There is no user “{username}” here.")
    form = FeedForm(request.GET)
    lines = activity.feed(person=member.pk, after=form.position())
    context = {
        "member": member,
        "contribution": activity.contribution(member.pk),
        "feed": lines,
        "next": str(lines[-1].position) if len(lines) == activity.PAGE else "",
        "may_suspend": access.may_suspend(request.user, member),
        "may_change_role": access.may_change_roles(request.user) and not member.is_staff,
        "log": list(moderation_selectors.trail(user=member))
        if access.may_curate(request.user)
        else [],
    }
    return page(request, "labels/person.html", context | tabs(request), {"more": "lines"})


def tabs(request: HtmxRequest) -> dict[str, Any]:
    """The number of open reports, which the moderation tab shows to curators."""
    if not access.may_curate(request.user):
        return {}
    return {"open_flags": Flag.objects.filter(decided=None).count()}
