"""Everything that the page of one feature shows, from the same selectors."""

from typing import Any

from rest_framework import serializers

from explorer.api.v1.fields import TextField, about
from explorer.api.v1.serializers.catalog import PAGE, ProvenanceSerializer
from explorer.api.v1.serializers.effects import StoredEffectSerializer
from explorer.api.v1.serializers.features import SpanSerializer
from explorer.api.v1.serializers.labels import LabelSerializer
from features.selectors.effects import effect
from features.selectors.feature_view import FeatureView
from features.selectors.labels import FeatureLabels

NUMBERS = ["fires", "density", "max_activation", "mean_activation"]


class HistogramSerializer(serializers.Serializer[Any]):
    """Equal bins from `low` to `high`."""

    counts = serializers.ListField(child=serializers.IntegerField())
    low = serializers.FloatField(help_text="Lower edge of the first bin.")
    high = serializers.FloatField(help_text="Upper edge of the last bin.")


class TokenLogitSerializer(serializers.Serializer[Any]):
    """What the feature does to one token's logit."""

    token_id = serializers.IntegerField()
    text = TextField(source="plain", help_text="The token's text, blanks as they are.")
    logit = serializers.FloatField(help_text=about("logit"))


class NeighbourSerializer(serializers.Serializer[Any]):
    """Another feature of the same SAE."""

    index = serializers.IntegerField()
    cosine = serializers.FloatField(help_text=about("nearest_cosine"))
    both = serializers.IntegerField(
        allow_null=True, help_text=about("cofiring_both") + " Null where they were not."
    )


class PartnerSerializer(serializers.Serializer[Any]):
    """Another feature of the same SAE, that fires on the same tokens."""

    index = serializers.IntegerField()
    jaccard = serializers.FloatField(help_text=about("cofiring_jaccard"))
    both = serializers.IntegerField(help_text=about("cofiring_both"))


class ElsewhereSerializer(serializers.Serializer[Any]):
    """The nearest feature of another SAE of the model, where a job `match_saes` has looked."""

    sae = serializers.CharField()
    index = serializers.IntegerField()
    cosine = serializers.FloatField(help_text=about("match_cosine"))


class ExampleSerializer(serializers.Serializer[Any]):
    """A context in which the feature fires. Token ids are the truth; `tokens` is how they read."""

    value = serializers.FloatField(help_text="Activation at the peak.")
    peak = serializers.IntegerField(help_text="Position of the firing that put the example here.")
    document = TextField(help_text="Name of the document that the context begins in.")
    context = serializers.IntegerField(  # type: ignore[assignment]
        source="position", help_text="Place in the corpus as packed, counted in contexts."
    )
    token_ids = serializers.SerializerMethodField()
    positions = serializers.ListField(child=serializers.IntegerField(), help_text="Where it fires.")
    values = serializers.ListField(
        child=serializers.FloatField(), help_text="How strongly, for every position."
    )
    tokens = SpanSerializer(many=True)

    def get_token_ids(self, example: Any) -> list[int]:
        """The ids of the context's tokens."""
        return [token_id for span in example.tokens for token_id in span.token_ids]


class BandSerializer(serializers.Serializer[Any]):
    """Examples of one part of the activation range."""

    number = serializers.IntegerField(
        help_text="0: the top examples; 1 (highest) to 5 (lowest): drawn evenly."
    )
    low = serializers.FloatField(help_text="Lower edge of its activations.")
    high = serializers.FloatField(help_text="Upper edge of its activations.")
    share = serializers.FloatField(help_text="The band's part of all firings.")
    examples = ExampleSerializer(many=True)


class FeatureDetailSerializer(serializers.Serializer[Any]):
    """Everything that the feature's page shows."""

    model = serializers.CharField()
    sae = serializers.CharField()
    index = serializers.IntegerField()
    url = serializers.CharField(help_text=PAGE)
    alive = serializers.BooleanField(
        help_text="Whether it fired at least once on the tokens counted."
    )
    fires = serializers.IntegerField(help_text=about("fires"))
    density = serializers.FloatField(help_text=about("density"))
    max_activation = serializers.FloatField(help_text=about("max_activation"))
    mean_activation = serializers.FloatField(help_text=about("mean_activation"))
    decoder_norm = serializers.FloatField(help_text=about("decoder_norm"))
    encoder_decoder_cosine = serializers.FloatField(help_text=about("encoder_decoder_cosine"))
    histogram = HistogramSerializer(help_text="Firings in equal bins of activation.")
    logit_histogram = HistogramSerializer(help_text=about("logit_histogram"))
    top_logits = TokenLogitSerializer(many=True)
    bottom_logits = TokenLogitSerializer(many=True)
    nearest = NeighbourSerializer(many=True)
    cofiring = PartnerSerializer(many=True)
    elsewhere = ElsewhereSerializer(many=True)
    previous = serializers.IntegerField(
        allow_null=True, help_text="Index of the live feature before it."
    )
    next = serializers.IntegerField(
        allow_null=True, help_text="Index of the live feature after it."
    )
    label = LabelSerializer(  # type: ignore[assignment]  # as above
        allow_null=True, help_text="Its label; null where it has none. " + about("label_support")
    )
    labels = LabelSerializer(many=True, help_text="All that are shown, most support first.")
    disputed = serializers.BooleanField(help_text=about("label_disputed"))
    reads = serializers.ListField(
        child=serializers.CharField(),
        help_text="Tokens on which the top examples peak, most frequent first.",
    )
    writes = serializers.ListField(
        child=serializers.CharField(), help_text="Tokens that it promotes most."
    )
    effect = StoredEffectSerializer(
        allow_null=True, help_text="What changing it does; null until it was measured."
    )
    causal_effect = serializers.FloatField(help_text=about("causal_effect"))
    best_dose = serializers.FloatField(
        allow_null=True,
        help_text=about("dose_best") + " Of the latest sweep, as a share of the maximum.",
    )
    bands = BandSerializer(many=True)
    provenance = ProvenanceSerializer(allow_null=True)
    updated = serializers.DateTimeField()


def detail(view: FeatureView, labels: FeatureLabels) -> dict[str, Any]:
    """The page's reads in the shape of `FeatureDetailSerializer`."""
    row, sae = view.feature, view.sae
    copied = [*NUMBERS, "index", "alive", "decoder_norm", "encoder_decoder_cosine", "updated"]
    copied += ["causal_effect", "best_dose"]
    shape = {name: getattr(row, name) for name in copied} | {
        "model": sae.model.slug,
        "sae": sae.slug,
        "url": row.get_absolute_url(),
        "histogram": {
            "counts": row.histogram,
            "low": 0.0,
            "high": row.histogram_width * len(row.histogram),
        },
        "logit_histogram": {
            "counts": row.logit_histogram,
            "low": row.logit_low,
            "high": row.logit_high,
        },
        "top_logits": view.top_logits,
        "bottom_logits": view.bottom_logits,
        "nearest": view.nearest,
        "cofiring": view.cofiring,
        "elsewhere": view.elsewhere,
        "label": labels.consensus,
        "labels": labels.labels,
        "disputed": row.disputed,
        "reads": view.reads,
        "writes": view.writes,
        "previous": view.previous,
        "next": view.next,
        "effect": effect(view),
        "bands": view.bands,
        "provenance": getattr(sae, "dashboard", None),
    }
    return dict(FeatureDetailSerializer(shape).data)
