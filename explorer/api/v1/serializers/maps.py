"""The map of an SAE, as columns: a row per feature would be five times as long."""

from typing import Any

from rest_framework import serializers

from explorer.api.v1.fields import TextField, about


def column(kind: Any, text: str, **kwargs: Any) -> serializers.ListField:
    """One value for each feature."""
    return serializers.ListField(child=kind(**kwargs), help_text=text)


class MapSerializer(serializers.Serializer[Any]):
    """Every feature on the map, as columns of one length by rising index."""

    model = serializers.CharField()
    sae = serializers.CharField()
    job = serializers.IntegerField(allow_null=True, help_text="Id of the job that made it.")
    neighbours = serializers.IntegerField(
        help_text="Nearest features that held each in its place, itself among them."
    )
    seed = serializers.IntegerField()
    made_with = serializers.CharField(help_text="The libraries, with their versions.")
    indices = column(serializers.IntegerField, "Indices of the features.")
    x = column(serializers.FloatField, "Place on the map, without a unit.")
    y = column(serializers.FloatField, "Likewise, counted downwards.")
    clusters = column(serializers.IntegerField, about("cluster") + " Null there.", allow_null=True)
    densities = column(serializers.FloatField, about("density") + " Four digits.")
    maxima = column(serializers.FloatField, about("max_activation") + " Four digits.")
    token = column(
        serializers.IntegerField,
        "Place in `tokens` of the token that the feature promotes most; -1: none.",
    )
    tokens = serializers.ListField(
        child=TextField(),
        help_text="The texts that `token` points into, blanks and line ends as signs.",
    )
    labels = serializers.ListField(
        child=TextField(), help_text="Each feature's label; empty where it has none."
    )
