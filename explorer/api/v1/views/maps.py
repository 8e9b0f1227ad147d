"""The map of an SAE's features."""

from typing import Any

from django.utils.cache import patch_cache_control
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from explorer.api.v1.base import get_or_404
from explorer.api.v1.parsing import parse_query
from explorer.api.v1.serializers.errors import operation
from explorer.api.v1.serializers.maps import MapSerializer
from features.selectors import catalog as catalog_selectors
from features.selectors import maps as map_selectors


class Map(APIView):
    """The map of an SAE."""

    @operation("get_map", MapSerializer, 404)
    def get(self, request: Request, model: str, sae: str) -> Response:
        """Get where the live features of an SAE lie on its map. An `ETag` says whether it is still
        the same.
        """
        parse_query(request)
        owner = get_or_404(catalog_selectors.sae, model, sae, noun="SAE")
        dashboard = getattr(owner, "dashboard", None)
        if dashboard is None or dashboard.map is None:
            raise NotFound(
                f"{owner} has no map yet. A job of kind map_sae makes it, after the dashboards."
            )
        version = f'"{map_selectors.version(dashboard)}"'
        if version in request.headers.get("If-None-Match", ""):
            return _cached(Response(status=304), version)
        settings = {name: dashboard.map[name] for name in ("neighbours", "seed", "made_with")}
        names: dict[str, Any] = {"model": model, "sae": sae, "job": dashboard.mapped_by_id}
        return _cached(Response(names | settings | map_selectors.points(owner)._asdict()), version)


def _cached(response: Response, version: str) -> Response:
    """A browser keeps it, and asks each time whether it is still the same."""
    response["ETag"] = version
    patch_cache_control(response, no_cache=True)
    return response
