"""Comments on features, and requests to write them."""

from typing import Any

from rest_framework import serializers

from explorer.api.v1.serializers.catalog import Slug
from explorer.api.v1.serializers.jobs import BIGGEST_ID
from explorer.api.v1.serializers.labels import (
    LONGEST_SENT,
    NAME,
    FeatureNameRequestSerializer,
    OfFeature,
)
from features.models import Comment


class CommentsQuery(OfFeature):
    """Which comments."""

    label = serializers.IntegerField(  # type: ignore[assignment]  # DRF's own attribute
        required=False, min_value=1, max_value=BIGGEST_ID, help_text="Only about it."
    )


class CommentSerializer(serializers.ModelSerializer[Comment]):
    """A comment on a feature."""

    model = serializers.CharField(source="feature.sae.model.slug", read_only=True)
    sae = serializers.CharField(source="feature.sae.slug", read_only=True)
    index = serializers.IntegerField(source="feature.index", read_only=True)
    label = serializers.IntegerField(  # type: ignore[assignment]  # DRF's own attribute
        source="label_id",
        read_only=True,
        allow_null=True,
        help_text="Id of the label that it is about.",
    )
    parent = serializers.IntegerField(  # type: ignore[assignment]  # DRF's own attribute
        source="parent_id",
        read_only=True,
        allow_null=True,
        help_text="Id of the comment that it answers.",
    )
    author: Slug = serializers.SlugRelatedField(
        slug_field="username", read_only=True, allow_null=True, help_text=f"{NAME}."
    )

    class Meta:
        model = Comment
        fields = [
            "id",
            "model",
            "sae",
            "index",
            "label",
            "parent",
            "author",
            "text",
            "created",
            "edited",
        ]
        read_only_fields = fields


class CommentRequestSerializer(FeatureNameRequestSerializer):
    """A comment to write."""

    text = serializers.CharField(max_length=LONGEST_SENT, help_text="At most 5,000 characters.")
    label = serializers.IntegerField(  # type: ignore[assignment]  # DRF's own attribute
        required=False,
        min_value=1,
        max_value=BIGGEST_ID,
        help_text="Id of the feature's label that it is about.",
    )
    parent = serializers.IntegerField(  # type: ignore[assignment]  # DRF's own attribute
        required=False,
        min_value=1,
        max_value=BIGGEST_ID,
        help_text="Id of the comment that it answers.",
    )


class CommentEditRequestSerializer(serializers.Serializer[Any]):
    """A new text for a comment."""

    text = serializers.CharField(max_length=LONGEST_SENT)
