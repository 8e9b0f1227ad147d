"""What features do on a text that the caller sends: their activations, and what
changing one does.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from explorer.api.v1 import examples
from explorer.api.v1.base import get_or_404
from explorer.api.v1.parsing import parse_body
from explorer.api.v1.serializers.activations import (
    ActivationsRequestSerializer,
    ActivationsSerializer,
    of_feature,
    of_text,
)
from explorer.api.v1.serializers.effects import EffectRequestSerializer, EffectSerializer
from explorer.api.v1.serializers.errors import operation
from features.inference import text_activations
from features.records import InvalidInput
from features.selectors import catalog as catalog_selectors
from features.selectors import features as feature_selectors


class Activations(APIView):
    """A text through a model and its SAEs."""

    @operation(
        "read_text",
        ActivationsSerializer,
        404,
        413,
        415,
        503,
        request=ActivationsRequestSerializer,
        examples=examples.ACTIVATIONS,
    )
    def post(self, request: Request) -> Response:
        """Read a text: one feature on each token, or the strongest features of every token. Nothing
        is kept.
        """
        data = parse_body(request, ActivationsRequestSerializer)
        saes = [
            get_or_404(catalog_selectors.sae, data["model"], slug, noun="SAE")
            for slug in dict.fromkeys(data["sae"])
        ]
        with field_of_text_errors():
            if "index" in data:
                one = get_or_404(
                    feature_selectors.row,
                    data["model"],
                    saes[0].slug,
                    data["index"],
                    noun="feature",
                )
                results = [
                    of_feature(saes[0].slug, text_activations.read_feature(one, data["text"]))
                ]
            else:
                results = [
                    of_text(reading, data["top"])
                    for reading in text_activations.read_text(saes, data["text"])
                ]
        return Response({"results": results})


class Effects(APIView):
    """A feature changed in a text."""

    @operation(
        "measure_effect",
        EffectSerializer,
        404,
        413,
        415,
        503,
        request=EffectRequestSerializer,
        examples=examples.EFFECT,
    )
    def post(self, request: Request) -> Response:
        """Ablate a feature where it fires in a text, add it where it does not, and say what the
        model does. Nothing is stored.
        """
        data = parse_body(request, EffectRequestSerializer)
        one = get_or_404(
            feature_selectors.row, data["model"], data["sae"], data["index"], noun="feature"
        )
        with field_of_text_errors():
            return Response(EffectSerializer(text_activations.effect_in(one, data["text"])).data)


@contextmanager
def field_of_text_errors() -> Iterator[None]:
    """Name the field of a text that a worker refuses."""
    try:
        yield
    except InvalidInput as error:
        raise ValidationError({error.field or "text": [error.message]}) from None
