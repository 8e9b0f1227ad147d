"""What a search found."""

from typing import Any

from rest_framework import serializers

from explorer.api.v1.fields import LIMIT, MOST, Query, TextField, about
from explorer.api.v1.serializers.catalog import PAGE
from explorer.api.v1.serializers.features import SpanSerializer


class TokenQuery(Query):
    """Which token, where."""

    token = serializers.CharField(
        trim_whitespace=False,
        max_length=200,
        help_text="As it reads. Other spellings are searched too: with or without a blank before it, in other cases.",
    )
    model = serializers.CharField(required=False, help_text="Its slug; may be left out where there is only one.")
    sae = serializers.ListField(
        child=serializers.CharField(),
        required=False,
        help_text="Slugs, the parameter once for each; all where none is named.",
    )
    limit = serializers.IntegerField(
        min_value=1, max_value=MOST, default=LIMIT, help_text=f"Features in each list, 1 to {MOST}."
    )


class MeantSerializer(serializers.Serializer[Any]):
    """A token of the vocabulary that was searched."""

    token_id = serializers.IntegerField()
    text = TextField(source="plain", help_text="Its text, blanks as they are.")


class FoundSerializer(serializers.Serializer[Any]):
    """A feature that was found."""

    sae = serializers.CharField(source="feature.sae.slug")
    index = serializers.IntegerField(source="feature.index")
    url = serializers.CharField(source="feature.get_absolute_url", help_text=PAGE)
    density = serializers.FloatField(source="feature.density", help_text=about("density"))
    max_activation = serializers.FloatField(source="feature.max_activation", help_text=about("max_activation"))
    snippet = SpanSerializer(many=True, help_text="The words around its best example's peak; empty where it is dead.")


class PeakingSerializer(FoundSerializer):
    """A feature whose top examples peak on the token."""

    examples = serializers.IntegerField(help_text=about("peak_examples"))


class PromotingSerializer(FoundSerializer):
    """A feature that promotes the token."""

    logit = serializers.FloatField(help_text=about("logit"))


class TokenSearchSerializer(serializers.Serializer[Any]):
    """The tokens that were meant, and two lists of features, best first."""

    model = serializers.CharField()
    tokens = MeantSerializer(many=True)
    peaks = PeakingSerializer(many=True)
    promotes = PromotingSerializer(many=True)
