"""Word lists: read by everyone, added by members with the form that the page uses."""

from typing import Any

from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from explorer import access
from explorer.api.v1.base import MembersWriteView, get_or_404
from explorer.api.v1.fields import PageQuery
from explorer.api.v1.pagination import page_of, paginated_response
from explorer.api.v1.parsing import parse_body, parse_query
from explorer.api.v1.serializers.errors import operation
from explorer.api.v1.serializers.word_lists import (
    WordListDetailSerializer,
    WordListRequestSerializer,
    WordListSerializer,
)
from features.models import WordList
from features.selectors import word_lists as word_list_selectors
from features.services.word_lists import WordListForm


class WordLists(MembersWriteView):
    """Word lists."""

    @operation("list_word_lists", page_of(WordListSerializer), parameters=[PageQuery])
    def get(self, request: Request) -> Response:
        """List word lists by name, without their entries."""
        return paginated_response(
            request,
            word_list_selectors.list_word_lists(),
            ["slug"],
            parse_query(request, PageQuery),
            WordListSerializer,
        )

    @operation(
        "keep_word_list",
        WordListDetailSerializer,
        403,
        413,
        415,
        success=201,
        request=WordListRequestSerializer,
    )
    def post(self, request: Request) -> Response:
        """Keep a list (members), which never changes."""
        form = WordListForm(parse_body(request, WordListRequestSerializer))
        if not form.is_valid():
            raise ValidationError(
                {name: [str(error) for error in errors] for name, errors in form.errors.items()}
            )
        slug = form.save_for(request.user).slug
        return Response(
            _word_list_data(slug), status=201, headers={"Location": f"{request.path}{slug}/"}
        )


class OneWordList(MembersWriteView):
    """One word list."""

    @operation("get_word_list", WordListDetailSerializer, 404)
    def get(self, request: Request, slug: str) -> Response:
        """Get a list with its entries."""
        parse_query(request)
        return Response(_word_list_data(slug))

    @operation("delete_word_list", None, 403, 404, success=204, request=None)
    def delete(self, request: Request, slug: str) -> Response:
        """Delete a list (who keeps it, curators); labels that were learned with it stay."""
        parse_query(request)
        row = _find(slug)
        if not access.may_delete_list(request.user, row):
            raise PermissionDenied("Only its owner and curators may delete a list.")
        row.delete()
        return Response(status=204)


def _find(slug: str) -> WordList:
    return get_or_404(
        lambda slug: word_list_selectors.whole().get(slug=slug), slug, noun="word list"
    )


def _word_list_data(slug: str) -> Any:
    return WordListDetailSerializer(_find(slug)).data
