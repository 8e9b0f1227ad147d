"""The thread of a feature: write, answer, change and delete one's own, report; curators hide and
restore.
"""

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponseBase
from django.views.decorators.http import require_POST

from explorer import access
from explorer.http.drafts import posted_number
from explorer.http.requests import HtmxRequest
from explorer.views.labels import find_row, must_curate, write
from features.models import Comment, Label
from features.records import InvalidInput
from features.services import comments as comment_services
from features.services import moderation as moderation_services


@require_POST
def comment(request: HtmxRequest, model: str, sae: str, index: int) -> HttpResponseBase:
    """A comment on a feature, about one of its labels where `label` names one, or in answer to
    `parent`.
    """
    feature = find_row(model, sae, index)
    answered = posted_number(request, "parent")

    def act() -> None:
        parent = (
            Comment.objects.select_related("label").filter(pk=answered).first()
            if answered
            else None
        )
        about = Label.objects.filter(pk=posted_number(request, "label")).first()
        if answered and parent is None:
            raise InvalidInput("parent", "The comment that this answers was deleted meanwhile.")
        comment_services.comment(
            feature, request.POST.get("text", ""), by=request.user, label=about, parent=parent
        )

    return write(request, feature, f"reply-{answered}" if answered else "comment", act, talk=True)


@require_POST
def edit(request: HtmxRequest, pk: int) -> HttpResponseBase:
    """Other words for one's own comment."""
    found = find(pk)

    def act() -> None:
        _may_edit(request, found)
        comment_services.edit(found, request.POST.get("text", ""))

    return write(request, found.feature, f"comment-{pk}", act, talk=True)


@require_POST
def delete(request: HtmxRequest, pk: int) -> HttpResponseBase:
    """Take back one's own comment."""
    found = find(pk)

    def act() -> None:
        _may_edit(request, found)
        comment_services.delete(found)

    return write(request, found.feature, f"comment-{pk}", act, talk=True)


@require_POST
def flag(request: HtmxRequest, pk: int) -> HttpResponseBase:
    """Report a comment to the curators."""
    found = find(pk)

    def act() -> None:
        moderation_services.flag(found, request.POST.get("text", ""), by=request.user)

    return write(
        request,
        found.feature,
        f"flag-comment-{pk}",
        act,
        done="Reported. A curator will look at it.",
        talk=True,
    )


@require_POST
def hide(request: HtmxRequest, pk: int) -> HttpResponseBase:
    """Show a comment's words no more; for curators."""
    return _moderate(request, pk, hidden=True)


@require_POST
def restore(request: HtmxRequest, pk: int) -> HttpResponseBase:
    """Show them again; for curators."""
    return _moderate(request, pk, hidden=False)


def find(pk: int) -> Comment:
    """The comment with its feature and SAE, or a 404."""
    found = Comment.objects.select_related("feature__sae__model").filter(pk=pk).first()
    if found is None:
        raise Http404(f"There is no comment {pk}; it was deleted meanwhile.")
    return found


def _moderate(request: HtmxRequest, pk: int, *, hidden: bool) -> HttpResponseBase:
    found = find(pk)

    def act() -> None:
        must_curate(request)
        change = moderation_services.hide if hidden else moderation_services.restore
        change(found, by=request.user, reason=request.POST.get("note", ""))

    return write(request, found.feature, f"comment-{pk}", act, talk=True)


def _may_edit(request: HtmxRequest, comment: Comment) -> None:
    if not access.may_edit_comment(request.user, comment):
        raise PermissionDenied("Only its author may change a comment.")
