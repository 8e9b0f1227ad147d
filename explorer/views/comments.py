"""Comments on a feature: write, reply, edit, delete, report; curators hide and restore them."""

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponseBase
from django.views.decorators.http import require_POST

from explorer import access
from explorer.forms.drafts import posted_number
from explorer.http.requests import HtmxRequest
from explorer.views.features import find_row
from explorer.views.labels import must_curate, report, write
from features.models import Comment, Label
from features.records import InvalidInput
from features.services import comments as comment_services
from features.services import moderation as moderation_services


@require_POST
def comment(request: HtmxRequest, model: str, sae: str, index: int) -> HttpResponseBase:
    """Comment on a feature, on its label `label`, or in reply to the comment `parent`."""
    feature = find_row(model, sae, index)
    answered = posted_number(request, "parent")

    def save_comment() -> None:
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

    return write(
        request, feature, f"reply-{answered}" if answered else "comment", save_comment, talk=True
    )


@require_POST
def edit(request: HtmxRequest, pk: int) -> HttpResponseBase:
    comment = find_comment(pk)

    def save_text() -> None:
        _may_edit(request, comment)
        comment_services.edit(comment, request.POST.get("text", ""))

    return write(request, comment.feature, f"comment-{pk}", save_text, talk=True)


@require_POST
def delete(request: HtmxRequest, pk: int) -> HttpResponseBase:
    comment = find_comment(pk)

    def delete_comment() -> None:
        _may_edit(request, comment)
        comment_services.delete(comment)

    return write(request, comment.feature, f"comment-{pk}", delete_comment, talk=True)


@require_POST
def flag(request: HtmxRequest, pk: int) -> HttpResponseBase:
    """Report a comment to the curators."""
    return report(request, find_comment(pk), f"flag-comment-{pk}", talk=True)


@require_POST
def hide(request: HtmxRequest, pk: int) -> HttpResponseBase:
    return _moderate(request, pk, hidden=True)


@require_POST
def restore(request: HtmxRequest, pk: int) -> HttpResponseBase:
    return _moderate(request, pk, hidden=False)


def find_comment(pk: int) -> Comment:
    """The comment with its feature and SAE, or a 404."""
    comment = Comment.objects.select_related("feature__sae__model").filter(pk=pk).first()
    if comment is None:
        raise Http404(f"There is no comment {pk}; it was deleted meanwhile.")
    return comment


def _moderate(request: HtmxRequest, pk: int, *, hidden: bool) -> HttpResponseBase:
    comment = find_comment(pk)

    def moderate() -> None:
        must_curate(request)
        change = moderation_services.hide if hidden else moderation_services.restore
        change(comment, by=request.user, reason=request.POST.get("note", ""))

    return write(request, comment.feature, f"comment-{pk}", moderate, talk=True)


def _may_edit(request: HtmxRequest, comment: Comment) -> None:
    if not access.may_edit_comment(request.user, comment):
        raise PermissionDenied("Only its author may change a comment.")
