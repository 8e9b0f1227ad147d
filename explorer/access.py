"""Who may do what: the one place that decides. Everyone may look; staff start and cancel jobs."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpResponseBase

from explorer.http import HtmxRequest
from explorer.models import User
from features.models import Job

Visitor = User | AnonymousUser
View = Callable[..., HttpResponseBase]


def may_look(visitor: Visitor) -> bool:
    """Whether models, SAEs, features and jobs may be seen."""
    return True


def may_start_jobs(visitor: Visitor) -> bool:
    """Whether jobs may be started and cancelled."""
    return visitor.is_active and visitor.is_staff


def may_cancel(visitor: Visitor, job: Job) -> bool:
    """Whether that job may be cancelled: by staff and by whoever started it."""
    return may_start_jobs(visitor) or (visitor.is_active and job.created_by_id == visitor.pk)


def may_download(visitor: Visitor) -> bool:
    """Whether files may be taken along: by everyone who has an account."""
    return visitor.is_authenticated and visitor.is_active


def members_only(view: View) -> View:
    """Send visitors to sign in."""

    @wraps(view)
    def guarded(request: HtmxRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not may_download(request.user):
            return redirect_to_login(request.get_full_path())
        return view(request, *args, **kwargs)

    return guarded


def staff_only(view: View) -> View:
    """Send visitors to sign in, and refuse members with a 403 that says whom to ask."""

    @wraps(view)
    def guarded(request: HtmxRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        if not may_start_jobs(request.user):
            raise PermissionDenied("Only staff may start jobs. Ask whoever runs this instance to make you staff.")
        return view(request, *args, **kwargs)

    return guarded
