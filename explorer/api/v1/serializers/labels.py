"""Labels with scores and history, and requests to write labels."""

from typing import Any

from rest_framework import serializers

from explorer.api.v1.fields import BIGGEST_INDEX, PageQuery, TextField, about
from explorer.api.v1.serializers.catalog import PAGE, Slug
from features.models import Label, LabelRevision, LabelScore
from features.slugs import is_slug

LONGEST_SENT = 20_000
"""Characters that a request may send; labels and comments have lower limits with own messages."""

NAME = "Name of the person; null if their account was deleted"


class OfFeature(PageQuery):
    """Of which features."""

    model = serializers.CharField(
        required=False, validators=[is_slug], help_text="Only of this model."
    )
    sae = serializers.CharField(
        required=False, validators=[is_slug], help_text="Only of this SAE, by slug."
    )
    index = serializers.IntegerField(
        required=False,
        min_value=0,
        max_value=BIGGEST_INDEX,
        help_text="Only of the features of this index.",
    )
    author = serializers.CharField(required=False, max_length=150, help_text="Only by this person.")


class LabelsQuery(OfFeature):
    """Which labels."""

    method = serializers.CharField(
        required=False,
        max_length=50,
        help_text="Only by this method; `person` for what people wrote.",
    )


class LabelScoreSerializer(serializers.ModelSerializer[LabelScore]):
    """A label's score on held-out examples, by one kind of test."""

    scorer = TextField(read_only=True, help_text="The model that judged; empty where none did.")
    negatives = TextField(
        read_only=True, help_text="random or hard; empty where the kind has none."
    )
    details = serializers.DictField(read_only=True, help_text="What else was measured.")

    class Meta:
        model = LabelScore
        fields = [
            "kind",
            "scorer",
            "negatives",
            "value",
            "low",
            "high",
            "n",
            "f1",
            "balanced_accuracy",
            "auroc",
            "details",
            "made",
        ]
        read_only_fields = fields
        extra_kwargs = {"value": {"help_text": about("label_score")}}


class LabelSerializer(serializers.ModelSerializer[Label]):
    """What a feature means, according to a person or a method."""

    url = serializers.CharField(source="get_absolute_url", read_only=True, help_text=PAGE)
    model = serializers.CharField(source="feature.sae.model.slug", read_only=True)
    sae = serializers.CharField(source="feature.sae.slug", read_only=True)
    index = serializers.IntegerField(source="feature.index", read_only=True)
    method = serializers.CharField(read_only=True, help_text="`person`, or the method.")
    author: Slug = serializers.SlugRelatedField(
        slug_field="username",
        read_only=True,
        allow_null=True,
        help_text=f"{NAME}, or where a method made it.",
    )
    chosen = serializers.SerializerMethodField(help_text="Whether it is the feature's label.")
    for_it = serializers.SerializerMethodField(help_text=about("label_votes"))
    score_kind = TextField(
        read_only=True, help_text="Kind of the score that counts; empty where there is none."
    )
    scores = LabelScoreSerializer(source="shown_scores", many=True, read_only=True)
    job = serializers.IntegerField(
        source="job_id", read_only=True, allow_null=True, help_text="Id of its job."
    )
    upload = serializers.IntegerField(
        source="upload_id", read_only=True, allow_null=True, help_text="Id of its file."
    )

    class Meta:
        model = Label
        fields = [
            "id",
            "url",
            "model",
            "sae",
            "index",
            "text",
            "method",
            "author",
            "version",
            "chosen",
            "for_it",
            "down",
            "score",
            "score_kind",
            "support",
            "scores",
            "job",
            "upload",
            "created",
            "updated",
        ]
        read_only_fields = fields
        extra_kwargs = {
            "support": {"help_text": about("label_support")},
            "down": {"help_text": "Weights of the votes against it."},
            "version": {
                "help_text": "Number of the current text; an edit names the version that it saw."
            },
        }

    def get_chosen(self, label: Label) -> bool:
        """From the feature's row."""
        return label.feature.label_id == label.pk

    def get_for_it(self, label: Label) -> int:
        """Its author's weight and the votes'."""
        return label.weight + label.up


class RevisionSerializer(serializers.ModelSerializer[LabelRevision]):
    """The text of a label at one version."""

    by: Slug = serializers.SlugRelatedField(
        slug_field="username", read_only=True, allow_null=True, help_text=f"{NAME}."
    )
    note = TextField(read_only=True, help_text="Reason for the change, if one was given.")

    class Meta:
        model = LabelRevision
        fields = ["version", "text", "by", "note", "at"]
        read_only_fields = fields


class LabelDetailSerializer(LabelSerializer):
    """A label with its history."""

    provenance = serializers.DictField(read_only=True, help_text="How a method came to it.")
    history = RevisionSerializer(
        many=True, read_only=True, help_text="Oldest first; empty for what a method wrote once."
    )

    class Meta(LabelSerializer.Meta):
        fields = [*LabelSerializer.Meta.fields, "provenance", "history"]
        read_only_fields = fields


class FeatureNameRequestSerializer(serializers.Serializer[Any]):
    """Names a feature."""

    model = serializers.CharField(max_length=63)
    sae = serializers.CharField(max_length=63)
    index = serializers.IntegerField(min_value=0, max_value=BIGGEST_INDEX)


class LabelRequestSerializer(FeatureNameRequestSerializer):
    """A label to propose."""

    text = serializers.CharField(
        max_length=LONGEST_SENT, help_text="What the feature means, in at most 500 characters."
    )


class LabelEditRequestSerializer(serializers.Serializer[Any]):
    """A new text for a label."""

    text = serializers.CharField(max_length=LONGEST_SENT)
    version = serializers.IntegerField(
        min_value=1,
        max_value=BIGGEST_INDEX,
        help_text="The label's `version` that you saw; 409 where it has changed.",
    )
    note = serializers.CharField(
        max_length=300, required=False, default="", allow_blank=True, help_text="Why."
    )
