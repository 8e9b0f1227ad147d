"""SAEs whose features were matched, and the matches of a pair."""

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from explorer.api.v1.base import get_or_404
from explorer.api.v1.fields import PageQuery
from explorer.api.v1.pagination import page_of, paginated_response
from explorer.api.v1.parsing import parse_query
from explorer.api.v1.serializers.errors import operation
from explorer.api.v1.serializers.matches import MatchingSerializer, MatchQuery, MatchSerializer
from features.models import Matching
from features.selectors import catalog as catalog_selectors
from features.selectors import matches as match_selectors


class Matchings(APIView):
    """With which other SAEs one was matched."""

    @operation("list_matchings", page_of(MatchingSerializer), 404, parameters=[PageQuery])
    def get(self, request: Request, model: str, sae: str) -> Response:
        """List the SAEs in which the features of this one were looked for, with the share that was
        found.
        """
        owner = get_or_404(catalog_selectors.sae, model, sae, noun="SAE")
        query = parse_query(request, PageQuery)
        return paginated_response(
            request,
            match_selectors.pairs(model, owner.slug),
            ["other__slug"],
            query,
            MatchingSerializer,
        )


class Matches(APIView):
    """The matches of a pair."""

    @operation("list_matches", page_of(MatchSerializer), 404, parameters=[MatchQuery])
    def get(self, request: Request, model: str, sae: str, other: str) -> Response:
        """List the features of an SAE, each with its nearest in another. A job of kind match_saes
        finds them.
        """
        query = parse_query(request, MatchQuery)
        pair = get_or_404(_pair, model, sae, other, noun="pair of matched SAEs")
        return paginated_response(
            request,
            match_selectors.rows(pair),
            match_selectors.KEYS[query["order"]],
            query,
            MatchSerializer,
        )


def _pair(model: str, sae: str, other: str) -> Matching:
    return match_selectors.pair(catalog_selectors.sae(model, sae), other)
