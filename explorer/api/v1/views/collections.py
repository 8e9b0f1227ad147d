"""Collections and their items: create, read, change and delete."""

from typing import Any, TypeVar

from django.core.exceptions import PermissionDenied
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from explorer.access import may_change_collection
from explorer.api.v1.base import MembersWriteView
from explorer.api.v1.pagination import page_of, paginated_response
from explorer.api.v1.parsing import parse_body, parse_query
from explorer.api.v1.serializers.collections import (
    CollectionDetailSerializer,
    CollectionQuery,
    CollectionRequestSerializer,
    CollectionSerializer,
    ItemRequestSerializer,
    ItemsRequestSerializer,
)
from explorer.api.v1.serializers.errors import operation
from features import models
from features.selectors import collections as collection_selectors
from features.services import collections as collection_services

T = TypeVar("T")


class Collections(MembersWriteView):
    """Collections."""

    @operation("list_collections", page_of(CollectionSerializer), parameters=[CollectionQuery])
    def get(self, request: Request) -> Response:
        """List public collections, or one's own, newest first."""
        query = parse_query(request, CollectionQuery)
        if query["mine"] and not request.user.is_authenticated:
            raise ValidationError({"mine": ["Send a key, or sign in."]})
        rows = collection_selectors.list_collections(request.user.pk, mine=query["mine"])
        return paginated_response(request, rows, ["-id"], query, CollectionSerializer)

    @operation(
        "create_collection",
        CollectionDetailSerializer,
        403,
        413,
        415,
        success=201,
        request=CollectionRequestSerializer,
    )
    def post(self, request: Request) -> Response:
        """Make a collection, private unless `public` is true."""
        parse_query(request)
        data = parse_body(request, CollectionRequestSerializer)
        row = collection_services.create(**data, by=request.user)
        return Response(_detail(row), status=201, headers={"Location": f"{request.path}{row.pk}/"})


class Collection(MembersWriteView):
    """One collection."""

    @operation("get_collection", CollectionDetailSerializer, 404)
    def get(self, request: Request, pk: int) -> Response:
        """Get a collection with everything in it."""
        parse_query(request)
        return Response(_detail(_find(request, pk)))

    @operation(
        "change_collection",
        CollectionDetailSerializer,
        403,
        404,
        413,
        415,
        request=CollectionRequestSerializer,
    )
    def patch(self, request: Request, pk: int) -> Response:
        """Change its words, or who sees it; what is left out stays."""
        parse_query(request)
        row = _own(request, pk)
        data = parse_body(request, CollectionRequestSerializer, partial=True)
        collection_services.change(row, **data)
        return Response(_detail(_find(request, pk)))

    @operation("delete_collection", None, 403, 404, success=204)
    def delete(self, request: Request, pk: int) -> Response:
        """Delete a collection; the features stay."""
        parse_query(request)
        _own(request, pk).delete()
        return Response(status=204)


class Items(MembersWriteView):
    """What is in a collection."""

    @operation(
        "add_to_collection",
        CollectionDetailSerializer,
        403,
        404,
        413,
        415,
        request=ItemsRequestSerializer,
    )
    def post(self, request: Request, pk: int) -> Response:
        """Put features at the end of a collection; those that are there already stay where they
        are.
        """
        parse_query(request)
        row = _own(request, pk)
        data = parse_body(request, ItemsRequestSerializer)
        collection_services.add(row, collection_services.named(data["features"]), note=data["note"])
        return Response(_detail(_find(request, pk)))


class Item(MembersWriteView):
    """A feature in a collection."""

    @operation(
        "change_collection_item",
        CollectionDetailSerializer,
        403,
        404,
        413,
        415,
        request=ItemRequestSerializer,
    )
    def patch(self, request: Request, pk: int, item: int) -> Response:
        """Move an item, or change its note."""
        parse_query(request)
        row = _item(request, pk, item)
        data = parse_body(request, ItemRequestSerializer)
        if "note" in data:
            collection_services.annotate(row, data["note"])
        if "place" in data:
            collection_services.move(row, data["place"])
        return Response(_detail(_find(request, pk)))

    @operation("remove_collection_item", None, 403, 404, success=204)
    def delete(self, request: Request, pk: int, item: int) -> Response:
        """Take a feature out."""
        parse_query(request)
        collection_services.remove(_item(request, pk, item))
        return Response(status=204)


def _detail(row: models.Collection) -> dict[str, Any]:
    row.refresh_from_db()
    items = collection_selectors.items(row)
    row.count, row.features = len(items), items  # type: ignore[attr-defined]  # as the list has it annotated
    return dict(CollectionDetailSerializer(row).data)


def _find(request: Request, pk: int) -> models.Collection:
    try:
        return collection_selectors.collection(pk, request.user.pk)
    except models.Collection.DoesNotExist:
        raise NotFound(f"There is no collection {pk}, or it is private.") from None


def _own(request: Request, pk: int) -> models.Collection:
    row = _find(request, pk)
    if not may_change_collection(request.user, row):
        raise PermissionDenied("Only its owner changes a collection.")
    return row


def _item(request: Request, pk: int, item: int) -> models.CollectionItem:
    row = _own(request, pk).items.filter(pk=item).select_related("collection").first()
    if row is None:
        raise NotFound(f"There is no item {item} in that collection.")
    return row
