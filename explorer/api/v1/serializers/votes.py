"""Votes on labels, and requests to vote."""

from typing import Any

from rest_framework import serializers

from explorer.api.v1.fields import BIGGEST_INDEX, PageQuery
from explorer.api.v1.serializers.catalog import Slug
from explorer.api.v1.serializers.jobs import BIGGEST_ID
from features.models import Vote


class VotesQuery(PageQuery):
    """Which votes."""

    label = serializers.IntegerField(  # type: ignore[assignment]  # DRF's own attribute
        required=False, min_value=1, max_value=BIGGEST_ID, help_text="Only on this label."
    )
    user = serializers.CharField(required=False, max_length=150, help_text="Only by this person.")


class VoteSerializer(serializers.ModelSerializer[Vote]):
    """A person's vote for or against the text of a label."""

    label = serializers.IntegerField(source="label_id", read_only=True)  # type: ignore[assignment]  # DRF's own attribute
    user: Slug = serializers.SlugRelatedField(slug_field="username", read_only=True)
    value = serializers.ChoiceField(
        choices=[1, -1], read_only=True, help_text="1 for it, -1 against it."
    )

    class Meta:
        model = Vote
        fields = ["id", "label", "user", "value", "version", "weight", "at"]
        read_only_fields = fields
        extra_kwargs = {
            "version": {
                "help_text": "Version of the text that was voted on; the vote counts for no other."
            }
        }


class VoteRequestSerializer(serializers.Serializer[Any]):
    """A vote; it replaces the one that you gave this label before."""

    label = serializers.IntegerField(min_value=1, max_value=BIGGEST_ID)  # type: ignore[assignment]  # DRF's own attribute
    value = serializers.ChoiceField(choices=[1, -1])
    version = serializers.IntegerField(
        required=False,
        min_value=1,
        max_value=BIGGEST_INDEX,
        help_text="Version of the text that you saw; the current one by default.",
    )
