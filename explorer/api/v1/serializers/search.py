"""Results of searches."""

from typing import Any

from rest_framework import serializers

from explorer.api.v1.fields import LIMIT, MOST, FiniteField, Query, TextField, about
from explorer.api.v1.serializers.catalog import PAGE
from explorer.api.v1.serializers.features import SpanSerializer
from features.selectors.label_query import MAX_QUERY_LENGTH
from features.selectors.label_ranking import MAX_RESULTS, ORDERS
from features.selectors.label_search import MAX_RANKED


class TokenQuery(Query):
    """Which token, where."""

    token = serializers.CharField(
        trim_whitespace=False,
        max_length=200,
        help_text="As it reads. Other spellings are searched too: with or without a blank before "
        "it, in other cases.",
    )
    model = serializers.CharField(
        required=False, help_text="Its slug; may be left out where there is only one."
    )
    sae = serializers.ListField(
        child=serializers.CharField(),
        required=False,
        help_text="Slugs, the parameter once for each; all where none is named.",
    )
    limit = serializers.IntegerField(
        min_value=1, max_value=MOST, default=LIMIT, help_text=f"Features in each list, 1 to {MOST}."
    )


class MeantSerializer(serializers.Serializer[Any]):
    """A token of the vocabulary that was searched."""

    token_id = serializers.IntegerField()
    text = TextField(source="plain", help_text="Its text, blanks as they are.")


class FoundSerializer(serializers.Serializer[Any]):
    """A feature among the results."""

    sae = serializers.CharField(source="feature.sae.slug")
    index = serializers.IntegerField(source="feature.index")
    url = serializers.CharField(source="feature.get_absolute_url", help_text=PAGE)
    density = serializers.FloatField(source="feature.density", help_text=about("density"))
    max_activation = serializers.FloatField(
        source="feature.max_activation", help_text=about("max_activation")
    )
    snippet = SpanSerializer(
        many=True, help_text="The words around its best example's peak; empty where it is dead."
    )


class PeakingSerializer(FoundSerializer):
    """A feature whose top examples peak on the token."""

    examples = serializers.IntegerField(help_text=about("peak_examples"))


class PromotingSerializer(FoundSerializer):
    """A feature that promotes the token."""

    logit = serializers.FloatField(help_text=about("logit"))


class TokenSearchSerializer(serializers.Serializer[Any]):
    """The tokens that were meant, and two lists of features, best first."""

    model = serializers.CharField()
    tokens = MeantSerializer(many=True)
    peaks = PeakingSerializer(many=True)
    promotes = PromotingSerializer(many=True)


class LabelQuery(Query):
    """What labels say, and which features may have them."""

    q = serializers.CharField(
        max_length=MAX_QUERY_LENGTH,
        help_text="Words, which may be cut short or misspelt, or signs; meaning is asked of all "
        "of it.",
    )
    mode = serializers.ChoiceField(
        choices=["hybrid", "text", "semantic"],
        default="hybrid",
        help_text="By words, by meaning, or both merged by reciprocal rank.",
    )
    model = serializers.CharField(required=False, help_text="Its slug; all where none is named.")
    sae = serializers.ListField(
        child=serializers.CharField(),
        required=False,
        help_text="Slugs, the parameter once for each; all where none is named.",
    )
    layer = serializers.IntegerField(
        required=False, min_value=0, max_value=9999, help_text="Layer that the SAE reads."
    )
    density_min = FiniteField(required=False, min_value=0, max_value=1, help_text=about("density"))
    density_max = FiniteField(required=False, min_value=0, max_value=1, help_text=about("density"))
    score_min = FiniteField(
        required=False, min_value=0, max_value=1, help_text=about("label_score")
    )
    causal_min = FiniteField(required=False, help_text=about("causal_effect"))
    causal_max = FiniteField(required=False, help_text=about("causal_effect"))
    author = serializers.CharField(
        required=False, max_length=150, help_text="A username: labels that this person proposed."
    )
    alive = serializers.BooleanField(
        required=False, default=None, allow_null=True, help_text="Only live, or only dead ones."
    )
    order = serializers.ChoiceField(
        choices=list(ORDERS), default="relevance", help_text="Of the most relevant ones."
    )
    limit = serializers.IntegerField(
        min_value=1, max_value=MOST, default=LIMIT, help_text=f"Features, 1 to {MOST}."
    )
    start = serializers.IntegerField(
        min_value=0,
        max_value=10**4,
        default=0,
        help_text="Position of the first of them among all results.",
    )


class CorrectionSerializer(serializers.Serializer[Any]):
    """A word that no label has, and the words that were searched instead."""

    word = serializers.CharField(source="text")
    instead = serializers.ListField(child=serializers.CharField(), source="corrections")


class MarkedSerializer(serializers.Serializer[Any]):
    """A piece of a label."""

    text = TextField()
    hit = serializers.BooleanField(help_text="Whether it answers the query.")


class SaidSerializer(serializers.Serializer[Any]):
    """A label among the results."""

    id = serializers.IntegerField(source="label.pk")
    text = serializers.CharField(source="label.text")
    method = serializers.CharField(source="label.method", help_text="“person”, or what made it.")
    author = serializers.CharField(
        source="label.author", allow_null=True, help_text="Username; null of a method's."
    )
    score = serializers.FloatField(
        source="label.score", allow_null=True, help_text=about("label_score")
    )
    support = serializers.FloatField(source="label.support", help_text=about("label_support"))
    cosine = serializers.FloatField(allow_null=True, help_text=about("label_cosine"))
    parts = MarkedSerializer(
        many=True, help_text="The text in pieces, those that answer the query marked."
    )


class LabelledSerializer(FoundSerializer):
    """A feature among the results of a search by label."""

    model = serializers.CharField(source="feature.sae.model.slug")
    by_words = serializers.IntegerField(
        allow_null=True, help_text="Its rank by words, from 1; null if the words do not match."
    )
    by_meaning = serializers.IntegerField(
        allow_null=True, help_text="Its rank by meaning, from 1; null if only the words match."
    )
    labels = SaidSerializer(many=True, help_text="Its labels among the results, best first.")


class LabelSearchSerializer(serializers.Serializer[Any]):
    """Results of a search by label, best first, a row per feature."""

    corrections = CorrectionSerializer(many=True)
    every_word = serializers.BooleanField(
        help_text="False if no label has every word; labels with some of them are listed."
    )
    more = serializers.BooleanField(
        help_text=f"Whether more than {MAX_RANKED:,} labels have the words: others were not ranked."
    )
    meaning = serializers.CharField(help_text="Empty, or why meaning was not searched.")
    features = serializers.IntegerField(
        help_text=f"Number of results; at most {MAX_RESULTS} where they are ordered by "
        "something else than relevance."
    )
    results = LabelledSerializer(many=True)
