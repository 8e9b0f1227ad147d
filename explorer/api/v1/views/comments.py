"""Comments on features: read by everyone, written by members."""

from typing import Any

from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from explorer import access
from explorer.api.v1.base import MembersWriteView, get_or_404
from explorer.api.v1.pagination import page_of, paginated_response
from explorer.api.v1.parsing import parse_body, parse_query
from explorer.api.v1.serializers.comments import (
    CommentEditRequestSerializer,
    CommentRequestSerializer,
    CommentSerializer,
    CommentsQuery,
)
from explorer.api.v1.serializers.errors import operation
from explorer.api.v1.views.labels import feature_of, list_filters
from features.models import Comment as Row
from features.models import Label
from features.selectors import labels as label_selectors
from features.services import comments as comment_services


class Comments(MembersWriteView):
    """Comments."""

    @operation("list_comments", page_of(CommentSerializer), parameters=[CommentsQuery])
    def get(self, request: Request) -> Response:
        """List comments, newest first: of a model, SAE or feature, about a label, by a person."""
        query = parse_query(request, CommentsQuery)
        return paginated_response(
            request,
            label_selectors.comments(**list_filters(query)),
            ["-id"],
            query,
            CommentSerializer,
        )

    @operation(
        "comment",
        CommentSerializer,
        403,
        404,
        413,
        415,
        success=201,
        request=CommentRequestSerializer,
    )
    def post(self, request: Request) -> Response:
        """Comment on a feature (members), about one of its labels, or in answer to
        another comment.
        """
        data = parse_body(request, CommentRequestSerializer)
        feature = feature_of(data)
        about = (
            get_or_404(lambda pk: Label.objects.get(pk=pk), data["label"], noun="label")
            if "label" in data
            else None
        )
        parent = get_or_404(_row, data["parent"], noun="comment") if "parent" in data else None
        row = comment_services.comment(
            feature, data["text"], by=request.user, label=about, parent=parent
        )
        shown = CommentSerializer(get_or_404(_row, row.pk, noun="comment")).data
        return Response(shown, status=201, headers={"Location": f"{request.path}{row.pk}/"})


class Comment(MembersWriteView):
    """One comment."""

    @operation("get_comment", CommentSerializer, 404)
    def get(self, request: Request, pk: int) -> Response:
        """Get a comment."""
        parse_query(request)
        return Response(CommentSerializer(get_or_404(_row, pk, noun="comment")).data)

    @operation(
        "edit_comment", CommentSerializer, 403, 404, 413, 415, request=CommentEditRequestSerializer
    )
    def patch(self, request: Request, pk: int) -> Response:
        """Edit a comment of one's own."""
        row, data = _mine(request, pk), parse_body(request, CommentEditRequestSerializer)
        comment_services.edit(row, data["text"])
        return Response(CommentSerializer(get_or_404(_row, pk, noun="comment")).data)

    @operation("delete_comment", None, 403, 404, success=204, request=None)
    def delete(self, request: Request, pk: int) -> Response:
        """Delete a comment of one's own; where others answered it, its place stays without its
        words.
        """
        row = _mine(request, pk)
        comment_services.delete(row)
        return Response(status=204)


def _row(pk: Any) -> Row:
    return label_selectors.comments().get(pk=pk)


def _mine(request: Request, pk: int) -> Row:
    parse_query(request)
    row = get_or_404(_row, pk, noun="comment")
    if not access.may_edit_comment(request.user, row):
        raise PermissionDenied("Only its author may change a comment.")
    return row
