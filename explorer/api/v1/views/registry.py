"""The registry of published SAEs."""

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from explorer.api.v1.pagination import list_response, page_of
from explorer.api.v1.parsing import parse_query
from explorer.api.v1.serializers.errors import operation
from explorer.api.v1.serializers.registry import PublishedSerializer, RegistryQuery
from features.selectors import saelens_registry as registry_selectors


class Registry(APIView):
    """Published SAEs."""

    @operation("list_published", page_of(PublishedSerializer), parameters=[RegistryQuery])
    def get(self, request: Request) -> Response:
        """List the SAEs that SAELens's registry knows; `source` is what a job `add_sae` takes."""
        query = parse_query(request, RegistryQuery)
        limit, start = query.pop("limit"), int(query.pop("cursor", 0))
        results = registry_selectors.search(
            registry_selectors.RegistryQuery(**query), registry_selectors.models_here()
        )
        more = str(start + limit) if len(results) > start + limit else ""
        return list_response(
            request, PublishedSerializer(results[start : start + limit], many=True), more
        )
