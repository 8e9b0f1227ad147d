"""Published SAEs as they go out."""

from typing import Any

from rest_framework import serializers

from explorer.api.v1.fields import PageQuery, about
from features.selectors.saelens_registry import SITES


class RegistryQuery(PageQuery):
    """Which published SAEs."""

    q = serializers.CharField(
        required=False,
        max_length=200,
        help_text="Words that its release, id, model, repository or hook must have, all of them.",
    )
    release = serializers.CharField(required=False, max_length=100, help_text="Only this release.")
    model = serializers.CharField(
        required=False, max_length=200, help_text="Only SAEs of this model, by any of its names."
    )
    site = serializers.ChoiceField(
        choices=list(SITES), required=False, help_text="Only what reads there."
    )
    layer = serializers.IntegerField(
        min_value=0, max_value=999, required=False, help_text="Only this layer."
    )
    here = serializers.BooleanField(
        required=False, default=False, help_text="Only SAEs of only models on this instance."
    )
    cursor = serializers.RegexField(
        r"\A\d{1,6}\Z",
        required=False,
        help_text="Where to go on: the one in `next` of the page before.",
    )


class PublishedSerializer(serializers.Serializer[Any]):
    """One SAE of the registry."""

    source = serializers.CharField(source="entry.source", help_text="What a job `add_sae` takes.")  # type: ignore[assignment]  # DRF's own attribute
    release = serializers.CharField(source="entry.release")
    id = serializers.CharField(source="entry.id")
    model = serializers.CharField(source="entry.model", help_text="The model that it is for.")
    here = serializers.CharField(
        allow_null=True, help_text="That model's slug here; null where it is not."
    )
    repository = serializers.CharField(source="entry.repo")
    hook = serializers.CharField(source="entry.hook", allow_null=True)
    width = serializers.IntegerField(
        source="entry.width", allow_null=True, help_text=about("width")
    )
    l0 = serializers.FloatField(source="entry.l0", allow_null=True, help_text=about("published_l0"))
    refusal = serializers.CharField(
        source="entry.refusal", help_text="Why it cannot be imported; empty where it can."
    )
