"""Collections as they come in and go out."""

from typing import Any

from rest_framework import serializers

from explorer.api.v1.fields import PageQuery, about
from explorer.api.v1.serializers.catalog import PAGE
from features.models.collection import LONGEST_ABOUT, LONGEST_NAME, LONGEST_NOTE, MAX_ITEMS

NAMES = "MODEL/SAE/INDEX, or MODEL/SAE/INDEX,INDEX,… for several of one SAE."


class CollectionQuery(PageQuery):
    """Which collections."""

    mine = serializers.BooleanField(
        default=False, help_text="true: your own, private ones too; else public ones."
    )


class CollectionRequestSerializer(serializers.Serializer[Any]):
    """A collection's name, description and visibility."""

    name = serializers.CharField(max_length=LONGEST_NAME)
    about = serializers.CharField(max_length=LONGEST_ABOUT, required=False, allow_blank=True)
    public = serializers.BooleanField(
        required=False, help_text="Listed, and open to everybody; else only its owner sees it."
    )


class CollectionSerializer(serializers.Serializer[Any]):
    """A collection in a list."""

    id = serializers.IntegerField()
    url = serializers.CharField(source="get_absolute_url", help_text=PAGE)
    name = serializers.CharField()
    about = serializers.CharField(allow_blank=True)
    owner = serializers.CharField(help_text="Username.")
    public = serializers.BooleanField()
    count = serializers.IntegerField(help_text=f"Features in it, at most {MAX_ITEMS:,}.")
    created = serializers.DateTimeField()
    updated = serializers.DateTimeField(help_text="When it, or what is in it, last changed.")


class ItemSerializer(serializers.Serializer[Any]):
    """A feature in a collection."""

    id = serializers.IntegerField(
        source="item.pk", help_text="Of the item, to move it, to note something or to take it out."
    )
    model = serializers.CharField(source="feature.sae.model.slug")
    sae = serializers.CharField(source="feature.sae.slug")
    index = serializers.IntegerField(source="feature.index")
    url = serializers.CharField(source="feature.get_absolute_url", help_text=PAGE)
    label = serializers.CharField(  # type: ignore[assignment]  # DRF wants a field of that name
        source="feature.label", allow_null=True, help_text="The feature's label; null without one."
    )
    density = serializers.FloatField(source="feature.density", help_text=about("density"))
    max_activation = serializers.FloatField(
        source="feature.max_activation", help_text=about("max_activation")
    )
    note = serializers.CharField(source="item.note", allow_blank=True)


class CollectionDetailSerializer(CollectionSerializer):
    """A collection with everything in it, in its order."""

    features = ItemSerializer(many=True)


class ItemsRequestSerializer(serializers.Serializer[Any]):
    """Features to put in."""

    features = serializers.ListField(
        child=serializers.CharField(max_length=20_000),
        min_length=1,
        max_length=MAX_ITEMS,
        help_text=NAMES,
    )
    note = serializers.CharField(
        max_length=LONGEST_NOTE, required=False, allow_blank=True, default=""
    )


class ItemRequestSerializer(serializers.Serializer[Any]):
    """What to change of an item; what is left out stays."""

    place = serializers.IntegerField(
        required=False, min_value=1, help_text="Where to move it, from 1 to the end."
    )
    note = serializers.CharField(max_length=LONGEST_NOTE, required=False, allow_blank=True)
