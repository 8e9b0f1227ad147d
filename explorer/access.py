"""Roles and their permissions, decided here and nowhere else. Everyone may look, members write
labels, curators moderate them, staff start and cancel jobs.
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
    return True


def may_start_jobs(visitor: Visitor) -> bool:
    return visitor.is_active and visitor.is_staff


def may_cancel(visitor: Visitor, job: Job) -> bool:
    """Staff, and the user who started the job."""
    return may_start_jobs(visitor) or (visitor.is_active and job.created_by_id == visitor.pk)


def may_download(visitor: Visitor) -> bool:
    """Everyone with an account."""
    return visitor.is_authenticated and visitor.is_active


def may_write(visitor: Visitor) -> bool:
    """Whether the visitor may propose labels, vote and comment: members who are not suspended."""
    return isinstance(visitor, User) and visitor.is_active and visitor.suspended is None


def may_curate(visitor: Visitor) -> bool:
    """Whether the visitor may edit, merge, hide and restore the labels and comments of others."""
    return (
        isinstance(visitor, User) and may_write(visitor) and (visitor.curator or visitor.is_staff)
    )


def may_change_roles(visitor: Visitor) -> bool:
    """Whether the visitor may make members curators, and curators members: staff."""
    return may_curate(visitor) and visitor.is_staff


def may_suspend(visitor: Visitor, member: User) -> bool:
    """Curators and staff suspend members, staff suspend curators. Staff cannot be suspended, and
    people cannot suspend themselves.
    """
    if member.is_staff or member.pk == visitor.pk:
        return False
    return may_change_roles(visitor) if member.curator else may_curate(visitor)


def may_edit_label(visitor: Visitor, label: Label) -> bool:
    """Whether the visitor may edit or withdraw a label: its author and curators."""
    return may_curate(visitor) or (may_write(visitor) and label.author_id == visitor.pk)


def may_edit_comment(visitor: Visitor, comment: Comment) -> bool:
    """Its author, unless it is hidden."""
    return may_write(visitor) and comment.author_id == visitor.pk and not comment.hidden


def may_undo(visitor: Visitor, upload: LabelUpload) -> bool:
    """The uploader and curators."""
    return may_curate(visitor) or (may_write(visitor) and upload.by_id == visitor.pk)


def may_delete_list(visitor: Visitor, word_list: WordList) -> bool:
    """Its owner and curators."""
    return may_curate(visitor) or (may_write(visitor) and word_list.owner_id == visitor.pk)


def may_change_collection(visitor: Visitor, collection: Collection) -> bool:
    """Its owner alone."""
    return may_write(visitor) and collection.owner_id == visitor.pk


def weight(visitor: Visitor) -> int:
    """The weight of the visitor's labels and votes: 1 for a member, 3 for a curator or staff, 0 if
    they may not write.
    """
    if not may_write(visitor):
        return consensus.SUSPENDED
    return consensus.CURATOR if may_curate(visitor) else consensus.MEMBER


def _only(
    allowed: Callable[[Visitor], bool],
    refusal: str,
    back: Callable[[HtmxRequest], str] = HtmxRequest.get_full_path,
) -> Callable[[View], View]:
    """A decorator of views: visitors sign in and go `back`, users who are not `allowed` get a 403
    with the refusal.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(request: HtmxRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not request.user.is_authenticated:
                return redirect_to_login(back(request))
            if not allowed(request.user):
                raise PermissionDenied(refusal)
            return view(request, *args, **kwargs)

        return guarded

    return decorate


def _page_or_home(request: HtmxRequest) -> str:
    return request.get_full_path() if request.method == "GET" else "/"


def members_only(view: View) -> View:
    """Visitors, and users who are not active, sign in."""

    @wraps(view)
    def guarded(request: HtmxRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not may_download(request.user):
            return redirect_to_login(request.get_full_path())
        return view(request, *args, **kwargs)

    return guarded


writers_only = _only(
    may_write,
    "Your account is suspended: it cannot write. Ask a curator of this instance.",
    back=_page_or_home,
)
curators_only = _only(
    may_curate, "Only curators moderate. Ask the administrator of this instance to make you one."
)
staff_only = _only(
    may_start_jobs,
    "Only staff may start jobs. Ask the administrator of this instance to make you staff.",
)
