"""Uploads of label files, and requests to upload."""

from typing import Any

from rest_framework import serializers

from explorer.api.v1.serializers.catalog import PAGE, Slug
from explorer.api.v1.serializers.labels import NAME
from features.models import LabelUpload


class UploadSerializer(serializers.ModelSerializer[LabelUpload]):
    """A file of labels of one SAE, and what became of it."""

    url = serializers.CharField(source="get_absolute_url", read_only=True, help_text=PAGE)
    model = serializers.CharField(source="sae.model.slug", read_only=True)
    sae = serializers.CharField(source="sae.slug", read_only=True)
    by: Slug = serializers.SlugRelatedField(
        slug_field="username", read_only=True, allow_null=True, help_text=f"{NAME}."
    )
    votes = serializers.SerializerMethodField(
        help_text="Labels that were there already and got the sender's vote."
    )
    undone_by: Slug = serializers.SlugRelatedField(
        slug_field="username",
        read_only=True,
        allow_null=True,
        help_text="Who undid it; null if it was not undone.",
    )

    class Meta:
        model = LabelUpload
        fields = [
            "id",
            "url",
            "model",
            "sae",
            "name",
            "by",
            "at",
            "rows",
            "added",
            "votes",
            "undone",
            "undone_by",
            "kept",
        ]
        read_only_fields = fields

    def get_votes(self, upload: LabelUpload) -> int:
        """How many it gave."""
        return len(upload.votes)


class UploadRequestSerializer(serializers.Serializer[Any]):
    """A file of labels to send, as a form."""

    model = serializers.CharField(max_length=63)
    sae = serializers.CharField(max_length=63)
    file = serializers.FileField(
        help_text="CSV, JSON lines or Parquet by the end of its name, with the columns `index` "
        "and `text`."
    )
