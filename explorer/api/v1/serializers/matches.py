"""Features of one SAE with their nearest in another."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from explorer.api.v1.fields import PageQuery, about
from explorer.api.v1.serializers.feature_detail import HistogramSerializer
from features.models import Matching
from features.selectors.matches import ORDERS


class MatchQuery(PageQuery):
    """In which order."""

    order = serializers.ChoiceField(
        choices=list(ORDERS), default="index", help_text="A minus sends the nearest first."
    )


class MatchingSerializer(serializers.Serializer[Any]):
    """A pair of SAEs of one model that were matched, one way."""

    model = serializers.CharField(source="sae.model.slug")
    sae = serializers.CharField(source="sae.slug")
    other = serializers.CharField(source="other.slug")
    matched = serializers.FloatField(help_text=about("matched"))
    histogram = serializers.SerializerMethodField(help_text=about("match_histogram"))
    job = serializers.IntegerField(
        source="job_id", allow_null=True, help_text="Id of the job that made it."
    )
    made = serializers.DateTimeField()

    @extend_schema_field(HistogramSerializer)
    def get_histogram(self, matching: Matching) -> dict[str, Any]:
        """Counts from 0 to 1."""
        return {"counts": matching.histogram, "low": 0.0, "high": 1.0}


class MatchSerializer(serializers.Serializer[Any]):
    """A feature with its nearest in the other SAE."""

    index = serializers.IntegerField()
    other_index = serializers.IntegerField()
    cosine = serializers.FloatField(help_text=about("match_cosine"))
