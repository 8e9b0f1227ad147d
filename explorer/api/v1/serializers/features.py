"""The list of features: its query, and a feature in it."""

import math
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from explorer.api.v1.fields import FiniteField, PageQuery, TextField, about
from explorer.api.v1.serializers.catalog import PAGE
from explorer.forms.features import RANGED
from features.selectors.feature_columns import ORDERS


class FeatureQuery(PageQuery):
    """Which features, in which order."""

    order = serializers.ChoiceField(
        choices=list(ORDERS),
        default="index",
        help_text="A minus sends the largest first; ties go by index.",
    )
    density_min = FiniteField(
        required=False, min_value=0, max_value=1, help_text="At least this share of tokens."
    )
    density_max = FiniteField(
        required=False, min_value=0, max_value=1, help_text="At most this share of tokens."
    )
    max_activation_min = FiniteField(
        required=False, min_value=0, help_text="Of the features' maxima, at least this."
    )
    max_activation_max = FiniteField(required=False, min_value=0, help_text="At most this.")
    causal_effect_min = FiniteField(
        required=False, help_text="Of the effect sizes of adding them, at least this."
    )
    causal_effect_max = FiniteField(required=False, help_text="At most this.")
    cluster = serializers.IntegerField(
        required=False,
        min_value=0,
        max_value=2**31 - 1,
        help_text="Those of one cluster of the SAE's map.",
    )
    alive = serializers.BooleanField(
        required=False,
        allow_null=True,
        default=None,
        help_text="true: only those that fire; false: only dead ones.",
    )

    has_label = serializers.BooleanField(
        required=False,
        allow_null=True,
        default=None,
        help_text="true: only those with a label; false: those without.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """No range may be empty."""
        for name in RANGED:
            if attrs.get(f"{name}_min", -math.inf) > attrs.get(f"{name}_max", math.inf):
                raise serializers.ValidationError({f"{name}_min": [f"This is above {name}_max."]})
        return attrs


class SpanSerializer(serializers.Serializer[Any]):
    """A token of a heatmap, or several tokens that together make whole characters."""

    text = TextField(help_text="Its text, blanks and line ends as they are.")
    position = serializers.IntegerField(help_text="Of its first token, in the context.")
    token_ids = serializers.ListField(child=serializers.IntegerField())
    value = serializers.FloatField(
        allow_null=True, help_text="Largest activation of its tokens; null where none fires."
    )
    peak = serializers.BooleanField(
        help_text="Whether the firing that put the example here is in it."
    )
    special = serializers.BooleanField(
        help_text="Whether it is a special token: those are never counted."
    )
    left_out = serializers.BooleanField(
        help_text="Whether it is no special token and does not count either: its norm at the hook "
        "is far above the median (an attention sink), or it is among the first tokens of its "
        "context; `counted_tokens` of the provenance has the rule."
    )


class FeatureSerializer(serializers.Serializer[Any]):
    """A feature in a list."""

    index = serializers.IntegerField()
    url = serializers.CharField(source="get_absolute_url", help_text=PAGE)
    alive = serializers.BooleanField(
        help_text="Whether it fired at least once on the tokens counted."
    )
    fires = serializers.IntegerField(help_text=about("fires"))
    density = serializers.FloatField(help_text=about("density"))
    max_activation = serializers.FloatField(help_text=about("max_activation"))
    mean_activation = serializers.FloatField(help_text=about("mean_activation"))
    label = serializers.SerializerMethodField(help_text="Its label's text; null if it has none.")  # type: ignore[assignment]
    disputed = serializers.BooleanField(help_text=about("label_disputed"))
    snippet = serializers.SerializerMethodField(
        help_text="The tokens around its best example's peak; empty if it is dead."
    )

    def get_label(self, feature: Any) -> str | None:
        """Of the label's row."""
        return feature.label.text if feature.label else None

    @extend_schema_field(SpanSerializer(many=True))
    def get_snippet(self, feature: Any) -> Any:
        """From `context["snippets"]`, by feature id."""
        return SpanSerializer(self.context["snippets"].get(feature.pk, []), many=True).data
