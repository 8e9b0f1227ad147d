"""Features found by a token."""

from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from explorer.api.v1.parsing import query
from explorer.api.v1.serializers.errors import operation
from explorer.api.v1.serializers.search import TokenQuery, TokenSearchSerializer
from features.models import Sae
from features.selectors import catalog, tokens


class Tokens(APIView):
    """Search by token."""

    @operation("search_tokens", TokenSearchSerializer, 404, parameters=[TokenQuery])
    def get(self, request: Request) -> Response:
        """Find features whose top examples peak on a token, and features that promote it in the logits."""
        asked = query(request, TokenQuery)
        saes = _saes(asked.get("model", ""), asked.get("sae", []))
        found = tokens.search(saes, asked["token"], asked["limit"])
        return Response(TokenSearchSerializer({"model": saes[0].model.slug, **found._asdict()}).data)


def _saes(model: str, slugs: list[str]) -> list[Sae]:
    """SAEs of one model whose dashboards are complete, all or those named."""
    known = list(catalog.searchable())
    models = sorted({sae.model.slug for sae in known})
    if not model and len(models) > 1:
        raise ValidationError({"model": [f"Name one of the models: {', '.join(models)}."]})
    mine = {sae.slug: sae for sae in known if not model or sae.model.slug == model}
    if not mine:
        raise NotFound(
            f"There is no model “{model[:100]}” with dashboards." if model else "Nothing has dashboards yet."
        )
    for slug in slugs:
        if slug not in mine:
            raise NotFound(f"There is no SAE “{slug[:100]}” with dashboards of this model.")
    return [mine[slug] for slug in dict.fromkeys(slugs)] or list(mine.values())
