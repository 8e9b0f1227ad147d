"""Search features by label, and by token."""

from collections.abc import Mapping
from typing import Any

from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from explorer.api.v1.exceptions import Unanswered
from explorer.api.v1.parsing import parse_query
from explorer.api.v1.serializers.errors import operation
from explorer.api.v1.serializers.search import (
    LabelQuery,
    LabelSearchSerializer,
    TokenQuery,
    TokenSearchSerializer,
)
from features import hook_names
from features.inference import requests as inference_requests
from features.models import Sae
from features.records import InvalidInput
from features.selectors import catalog as catalog_selectors
from features.selectors import label_ranking, label_search
from features.selectors import tokens as token_selectors


class Tokens(APIView):
    """Search by token."""

    @operation("search_tokens", TokenSearchSerializer, 404, parameters=[TokenQuery])
    def get(self, request: Request) -> Response:
        """Find features whose top examples peak on a token, and features that promote it in the
        logits.
        """
        query = parse_query(request, TokenQuery)
        saes = _saes(query.get("model", ""), query.get("sae", []))
        results = token_selectors.search(saes, query["token"], query["limit"])
        return Response(
            TokenSearchSerializer({"model": saes[0].model.slug, **results._asdict()}).data
        )


class Labels(APIView):
    """Search by label."""

    @operation("search_labels", LabelSearchSerializer, 404, 503, parameters=[LabelQuery])
    def get(self, request: Request) -> Response:
        """Find features by what their labels say: by words, by meaning, or by both."""
        query = parse_query(request, LabelQuery)
        saes = _saes_in_scope(query.get("model", ""), query.get("sae", []), query.get("layer"))
        filters = {
            name: query[name] for name in label_search.FILTERS if query.get(name) is not None
        }
        words = label_search.search_words(
            query["q"], saes, filters, query_alone=query["mode"] == "semantic"
        )
        meaning, silent = _meaning(query, saes, filters)
        words = label_search.add_meaning(words, meaning)
        part = {name: query[name] for name in ("order", "limit", "start")}
        results = label_ranking.merge(words.query, words.hits, meaning, **part)
        answer = {
            "corrections": words.query.corrected(),
            "every_word": not words.some,
            "more": words.more,
            "meaning": silent,
            "features": results.features,
            "results": results.rows,
        }
        return Response(LabelSearchSerializer(answer).data)


def _meaning(
    query: Mapping[str, Any], saes: list[Sae] | None, filters: Mapping[str, Any]
) -> tuple[list[label_search.Hit], str]:
    """What means that; where nobody can tell, why not, or a refusal where meaning alone was asked
    for.
    """
    if query["mode"] == "text":
        return [], ""
    try:
        return label_search.search_meaning(query["q"], saes, filters), ""
    except (InvalidInput, inference_requests.NoAnswer) as silent:
        if query["mode"] == "semantic":
            raise Unanswered(str(silent)) from None
        return [], str(silent)


def _saes_in_scope(model: str, slugs: list[str], layer: int | None) -> list[Sae] | None:
    """SAEs to search, None for all; slugs without a model are of any."""
    if not (model or slugs) and layer is None:
        return None
    saes = [sae for sae in catalog_selectors.searchable() if not model or sae.model.slug == model]
    if model and not saes:
        raise NotFound(f"There is no model “{model[:100]}” with dashboards.")
    for slug in slugs:
        if slug not in {sae.slug for sae in saes}:
            raise NotFound(f"There is no SAE “{slug[:100]}” with dashboards.")
    return [
        sae
        for sae in saes
        if (not slugs or sae.slug in slugs)
        and (layer is None or hook_names.parse_hook(sae.hook).layer == layer)
    ]


def _saes(model: str, slugs: list[str]) -> list[Sae]:
    """SAEs of one model whose dashboards are complete, all or those named."""
    searchable = list(catalog_selectors.searchable())
    models = sorted({sae.model.slug for sae in searchable})
    if not model and len(models) > 1:
        raise ValidationError({"model": [f"Name one of the models: {', '.join(models)}."]})
    mine = {sae.slug: sae for sae in searchable if not model or sae.model.slug == model}
    if not mine:
        raise NotFound(
            f"There is no model “{model[:100]}” with dashboards."
            if model
            else "Nothing has dashboards yet."
        )
    for slug in slugs:
        if slug not in mine:
            raise NotFound(f"There is no SAE “{slug[:100]}” with dashboards of this model.")
    return [mine[slug] for slug in dict.fromkeys(slugs)] or list(mine.values())
