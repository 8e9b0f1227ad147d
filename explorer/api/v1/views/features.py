"""Features: the list of an SAE, and everything about one."""

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from explorer.api.v1 import examples
from explorer.api.v1.base import get_or_404
from explorer.api.v1.pagination import cursor_errors, list_response, page_of
from explorer.api.v1.parsing import parse_query
from explorer.api.v1.serializers.errors import operation
from explorer.api.v1.serializers.feature_detail import FeatureDetailSerializer, detail
from explorer.api.v1.serializers.features import FeatureQuery, FeatureSerializer
from explorer.forms.features import RANGED
from features.selectors import catalog as catalog_selectors
from features.selectors import feature_lists
from features.selectors import features as feature_selectors
from features.selectors import labels as label_selectors

FILTERS = (
    "order",
    "alive",
    "has_label",
    "cluster",
    *(f"{name}_{end}" for name in RANGED for end in ("min", "max")),
)


class Features(APIView):
    """The features of an SAE."""

    @operation("list_features", page_of(FeatureSerializer), 404, parameters=[FeatureQuery])
    def get(self, request: Request, model: str, sae: str) -> Response:
        """List an SAE's features, filtered and ordered, each with the words around the peak of its
        best example.
        """
        query = parse_query(request, FeatureQuery)
        owner = get_or_404(catalog_selectors.sae, model, sae, noun="SAE")
        filters = {name: query[name] for name in FILTERS if name in query}
        with cursor_errors():
            page = feature_lists.page(
                owner, size=query["limit"], cursor=query.get("cursor", ""), **filters
            )
        for row in page.features:
            row.sae = owner  # its address needs it
        rows = FeatureSerializer(page.features, many=True, context={"snippets": page.snippets})
        return list_response(request, rows, page.next)


class Feature(APIView):
    """One feature."""

    @operation("get_feature", FeatureDetailSerializer, 404, example=examples.FEATURE)
    def get(self, request: Request, model: str, sae: str, index: int) -> Response:
        """Get everything about a feature: numbers, histograms, logits, labels, neighbours,
        co-firing, examples and provenance.
        """
        parse_query(request)
        view = get_or_404(feature_selectors.feature, model, sae, index, noun="feature")
        return Response(detail(view, label_selectors.of_feature(view.feature)))
