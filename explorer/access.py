"""Who may do what: the one place that decides. Everyone may look, members write labels, curators
look after them, staff start and cancel jobs.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpResponseBase

from explorer.http.requests import HtmxRequest
from explorer.models import User
from features.models import Collection, Comment, Job, Label, LabelUpload, WordList
from features.services import consensus

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


def may_write(visitor: Visitor) -> bool:
    """Whether labels may be proposed and voted on, and comments be written: by every member who is
    not suspended.
    """
    return isinstance(visitor, User) and visitor.is_active and visitor.suspended is None


def may_curate(visitor: Visitor) -> bool:
    """Whether labels and comments of others may be edited, merged, hidden and restored: by curators
    and staff.
    """
    return (
        isinstance(visitor, User) and may_write(visitor) and (visitor.curator or visitor.is_staff)
    )


def may_change_roles(visitor: Visitor) -> bool:
    """Whether members may be made curators, and curators members: by staff."""
    return may_curate(visitor) and visitor.is_staff


def may_suspend(visitor: Visitor, member: User) -> bool:
    """Whether that person may be suspended: a member by curators and staff, a curator by staff,
    staff and oneself by nobody.
    """
    if member.is_staff or member.pk == visitor.pk:
        return False
    return may_change_roles(visitor) if member.curator else may_curate(visitor)


def may_edit_label(visitor: Visitor, label: Label) -> bool:
    """Whether a label's words may be changed, or it be withdrawn: by its author and curators; a
    machine's by curators.
    """
    return may_curate(visitor) or (may_write(visitor) and label.author_id == visitor.pk)


def may_edit_comment(visitor: Visitor, comment: Comment) -> bool:
    """Whether a comment may be changed or deleted: by who wrote it, unless it is hidden."""
    return may_write(visitor) and comment.author_id == visitor.pk and not comment.hidden


def may_undo(visitor: Visitor, upload: LabelUpload) -> bool:
    """Whether an upload may be taken back: by who made it and curators."""
    return may_curate(visitor) or (may_write(visitor) and upload.by_id == visitor.pk)


def may_delete_list(visitor: Visitor, kept: WordList) -> bool:
    """Whether a word list may be deleted: by who keeps it and curators."""
    return may_curate(visitor) or (may_write(visitor) and kept.owner_id == visitor.pk)


def may_change_collection(visitor: Visitor, collection: Collection) -> bool:
    """Whether a collection may be changed: by its owner alone."""
    return may_write(visitor) and collection.owner_id == visitor.pk


def weight(visitor: Visitor) -> int:
    """What the visitor's labels and votes weigh: a member's 1, a curator's or staff's 3, of who may
    not write 0.
    """
    if not may_write(visitor):
        return consensus.SUSPENDED
    return consensus.CURATOR if may_curate(visitor) else consensus.MEMBER


def members_only(view: View) -> View:
    """Send visitors to sign in."""

    @wraps(view)
    def guarded(request: HtmxRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not may_download(request.user):
            return redirect_to_login(request.get_full_path())
        return view(request, *args, **kwargs)

    return guarded


def writers_only(view: View) -> View:
    """Send visitors to sign in, and refuse with a 403 who is suspended."""

    @wraps(view)
    def guarded(request: HtmxRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path() if request.method == "GET" else "/")
        if not may_write(request.user):
            raise PermissionDenied(
                "Your account is suspended: it cannot write. Ask a curator of this instance."
            )
        return view(request, *args, **kwargs)

    return guarded


def curators_only(view: View) -> View:
    """Send visitors to sign in, and refuse members with a 403 that says whom to ask."""

    @wraps(view)
    def guarded(request: HtmxRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        if not may_curate(request.user):
            raise PermissionDenied(
                "Only curators moderate. Ask whoever runs this instance to make you one."
            )
        return view(request, *args, **kwargs)

    return guarded


def staff_only(view: View) -> View:
    """Send visitors to sign in, and refuse members with a 403 that says whom to ask."""

    @wraps(view)
    def guarded(request: HtmxRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        if not may_start_jobs(request.user):
            raise PermissionDenied(
                "Only staff may start jobs. Ask whoever runs this instance to make you staff."
            )
        return view(request, *args, **kwargs)

    return guarded
