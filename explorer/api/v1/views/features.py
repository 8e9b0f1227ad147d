"""Features: the list of an SAE, and everything about one."""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from explorer.api.v1 import examples
from explorer.api.v1.base import found
from explorer.api.v1.pagination import page_of, paged
from explorer.api.v1.parsing import query
from explorer.api.v1.serializers.errors import operation
from explorer.api.v1.serializers.features import FeatureDetailSerializer, FeatureQuery, FeatureSerializer, detail
from features.selectors import catalog
from features.selectors import features as selectors

FILTERS = ("order", "alive", "density_min", "density_max")


class Features(APIView):
    """The features of an SAE."""

    @operation("list_features", page_of(FeatureSerializer), 404, parameters=[FeatureQuery])
    def get(self, request: Request, model: str, sae: str) -> Response:
        """List an SAE's features, filtered and ordered, each with the words around the peak of its best example."""
        asked = query(request, FeatureQuery)
        owner = found(catalog.sae, model, sae, noun="SAE")
        rows = selectors.features(owner, **{name: asked[name] for name in FILTERS if name in asked})
        keys = ["index"] if asked["order"] == "index" else [asked["order"], "index"]

        def present(page: list[Any], many: bool) -> FeatureSerializer:
            for row in page:
                row.sae = owner  # its address needs it
            context = {"snippets": selectors.snippets(page, owner.model_id)}
            return FeatureSerializer(page, many=many, context=context)

        return paged(request, rows, keys, asked, present)


class Feature(APIView):
    """One feature."""

    @operation("get_feature", FeatureDetailSerializer, 404, example=examples.FEATURE)
    def get(self, request: Request, model: str, sae: str, index: int) -> Response:
        """Get everything about a feature: numbers, histograms, logits, neighbours, examples and provenance."""
        query(request)
        return Response(detail(found(selectors.feature, model, sae, index, noun="feature")))
