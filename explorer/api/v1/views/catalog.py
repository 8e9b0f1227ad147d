"""Models, corpora and SAEs."""

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from explorer.api.v1.base import get_or_404
from explorer.api.v1.fields import PageQuery
from explorer.api.v1.pagination import page_of, paginated_response
from explorer.api.v1.parsing import parse_query
from explorer.api.v1.serializers.catalog import (
    CorpusSerializer,
    LanguageModelSerializer,
    SaeQuery,
    SaeSerializer,
)
from explorer.api.v1.serializers.errors import operation
from features.selectors import catalog as catalog_selectors


class Models(APIView):
    """Language models."""

    @operation("list_models", page_of(LanguageModelSerializer), parameters=[PageQuery])
    def get(self, request: Request) -> Response:
        """List language models, by slug."""
        return paginated_response(
            request,
            catalog_selectors.models(),
            ["slug"],
            parse_query(request, PageQuery),
            LanguageModelSerializer,
        )


class Model(APIView):
    """One language model."""

    @operation("get_model", LanguageModelSerializer, 404)
    def get(self, request: Request, model: str) -> Response:
        """Get a language model: its shape, revision and hook points."""
        parse_query(request)
        return Response(
            LanguageModelSerializer(get_or_404(catalog_selectors.model, model, noun="model")).data
        )


class Corpora(APIView):
    """Bodies of text."""

    @operation("list_corpora", page_of(CorpusSerializer), parameters=[PageQuery])
    def get(self, request: Request) -> Response:
        """List corpora, by slug."""
        return paginated_response(
            request,
            catalog_selectors.corpora(),
            ["slug"],
            parse_query(request, PageQuery),
            CorpusSerializer,
        )


class Saes(APIView):
    """Sparse autoencoders."""

    @operation("list_saes", page_of(SaeSerializer), 404, parameters=[SaeQuery])
    def get(self, request: Request) -> Response:
        """List SAEs, of one model or of all, by model and slug."""
        query = parse_query(request, SaeQuery)
        if model := query.get("model", ""):
            get_or_404(catalog_selectors.model, model, noun="model")
        return paginated_response(
            request, catalog_selectors.saes(model), ["model__slug", "slug"], query, SaeSerializer
        )


class Sae(APIView):
    """One sparse autoencoder."""

    @operation("get_sae", SaeSerializer, 404)
    def get(self, request: Request, model: str, sae: str) -> Response:
        """Get an SAE: how it was made, and how good it is."""
        parse_query(request)
        return Response(
            SaeSerializer(get_or_404(catalog_selectors.sae, model, sae, noun="SAE")).data
        )
