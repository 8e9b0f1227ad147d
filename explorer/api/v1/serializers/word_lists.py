"""Word lists, and requests to add one."""

from typing import Any

from rest_framework import serializers

from explorer.api.v1.serializers.catalog import PAGE, Slug
from explorer.api.v1.serializers.labels import NAME
from features.models import WordList
from features.services.word_lists import MAX_BYTES


class WordListSerializer(serializers.ModelSerializer[WordList]):
    """A list of words that members keep: jobs that label features take it as a concept by its
    `slug`.
    """

    url = serializers.CharField(source="get_absolute_url", read_only=True, help_text=PAGE)
    size = serializers.IntegerField(read_only=True, help_text="How many entries it has.")
    owner: Slug = serializers.SlugRelatedField(
        slug_field="username", read_only=True, allow_null=True, help_text=f"{NAME}."
    )

    class Meta:
        model = WordList
        fields = ["slug", "url", "size", "owner", "created"]
        read_only_fields = fields


class WordListDetailSerializer(WordListSerializer):
    """A list with its entries."""

    entries = serializers.ListField(
        child=serializers.CharField(), read_only=True, help_text="Words and phrases."
    )

    class Meta(WordListSerializer.Meta):
        fields = [*WordListSerializer.Meta.fields, "entries"]
        read_only_fields = fields


class WordListRequestSerializer(serializers.Serializer[Any]):
    """A list to keep."""

    slug = serializers.CharField(max_length=63, help_text="Its name.")
    words = serializers.CharField(
        max_length=MAX_BYTES,
        trim_whitespace=False,
        help_text="One word or phrase per line. Lines that start with # are ignored.",
    )
