"""Activations of SAEs on a text."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from explorer.api.v1.fields import BIGGEST_INDEX, about
from explorer.api.v1.serializers.features import SpanSerializer
from features.inference.text_activations import (
    MAX_CHARACTERS,
    MAX_SAES,
    FeatureReading,
    TextReading,
)


@extend_schema_field(
    {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
)
class OneOrMoreField(serializers.ListField):
    """A list, or one of its items alone."""

    def to_internal_value(self, data: Any) -> Any:
        """The list."""
        return super().to_internal_value([data] if isinstance(data, str) else data)


class ActivationsRequestSerializer(serializers.Serializer[Any]):
    """A text, and the SAEs or feature to compute activations of."""

    model = serializers.CharField(max_length=63)
    sae = OneOrMoreField(
        child=serializers.CharField(max_length=63),
        min_length=1,
        max_length=MAX_SAES,
        help_text=f"Slug of an SAE of the model, or a list of 1 to {MAX_SAES}; with `index`, one.",
    )
    index = serializers.IntegerField(
        min_value=0,
        max_value=BIGGEST_INDEX,
        required=False,
        help_text="One feature; without it, all that fire.",
    )
    text = serializers.CharField(
        trim_whitespace=False,
        max_length=MAX_CHARACTERS,
        help_text="Used unchanged, with blanks at its ends.",
    )
    top = serializers.IntegerField(
        min_value=1,
        max_value=64,
        default=10,
        help_text="Without `index`: strongest features of each token, 1 to 64.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """An index is one of one SAE."""
        if "index" in attrs and len(attrs["sae"]) != 1:
            raise serializers.ValidationError({"sae": ["Name one SAE where you give an index."]})
        return attrs


class FiredSerializer(serializers.Serializer[Any]):
    """A feature on a token."""

    index = serializers.IntegerField()
    value = serializers.FloatField(help_text=about("activation"))


class SaeReadingSerializer(serializers.Serializer[Any]):
    """The text through one SAE."""

    sae = serializers.CharField()
    token_ids = serializers.ListField(
        child=serializers.IntegerField(), help_text="What the SAE reads, BOS too."
    )
    tokens = SpanSerializer(many=True)
    values = serializers.ListField(
        child=serializers.FloatField(),
        allow_null=True,
        help_text="The activation on each token id; null without `index`.",
    )
    fired = serializers.ListField(
        child=FiredSerializer(many=True),
        allow_null=True,
        help_text="What fires on each, strongest first; null with one.",
    )


class ActivationsSerializer(serializers.Serializer[Any]):
    """The answer, an entry for each SAE."""

    results = SaeReadingSerializer(many=True)


def of_feature(sae: str, reading: FeatureReading) -> dict[str, Any]:
    """One feature's reading in the shape of `SaeReadingSerializer`."""
    data = {"sae": sae, "token_ids": reading.token_ids, "tokens": _spans(reading.tokens)}
    return data | {"values": reading.values, "fired": None}


def of_text(reading: TextReading, top: int) -> dict[str, Any]:
    """A text's reading in that shape."""
    fired = [[feature._asdict() for feature in token[:top]] for token in reading.fired]
    data = {
        "sae": reading.sae.slug,
        "token_ids": reading.token_ids,
        "tokens": _spans(reading.tokens),
    }
    return data | {"values": None, "fired": fired}


def _spans(tokens: Any) -> Any:
    return SpanSerializer(tokens, many=True).data
