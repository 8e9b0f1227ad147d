"""Models, corpora and SAEs as they go out."""

from typing import Any

from rest_framework import serializers

from explorer.api.v1.fields import PageQuery, TextField, about
from features.models import Corpus, Dashboard, LanguageModel, Sae
from features.slugs import is_slug

PAGE = "Address of its page."
Slug = serializers.SlugRelatedField[Any]


class SaeQuery(PageQuery):
    """Which SAEs."""

    model = serializers.CharField(
        required=False, validators=[is_slug], help_text="Only those of this model."
    )


SOURCE = "A hub id, or the name of a file or folder on the worker's machine (not its path)."


class LanguageModelSerializer(serializers.ModelSerializer[LanguageModel]):
    """A language model."""

    url = serializers.CharField(source="get_absolute_url", help_text=PAGE, read_only=True)
    source = serializers.CharField(source="source_name", help_text=SOURCE, read_only=True)  # type: ignore[assignment]  # DRF's own attribute
    hook_refusals = serializers.DictField(
        child=serializers.CharField(),
        allow_null=True,
        read_only=True,
        help_text="Hook points that it lacks, each with the reason; null if they were not checked.",
    )
    sae_count = serializers.IntegerField(help_text="SAEs on this model.", read_only=True)
    shown_count = serializers.IntegerField(
        help_text="Those of them whose features can be explored.", read_only=True
    )

    class Meta:
        model = LanguageModel
        fields = [
            "slug",
            "url",
            "source",
            "revision",
            "architecture",
            "layers",
            "d_model",
            "vocabulary_size",
            "context_size",
            "parameters",
            "dtype",
            "bos_token_id",
            "adds_bos",
            "hooks",
            "hook_refusals",
            "sae_count",
            "shown_count",
            "created",
        ]
        read_only_fields = fields
        extra_kwargs = {
            name: {"help_text": about(name)}
            for name in ("layers", "d_model", "parameters", "vocabulary_size", "context_size")
        }


class CorpusSerializer(serializers.ModelSerializer[Corpus]):
    """A body of text."""

    source = serializers.CharField(source="source_name", help_text=SOURCE, read_only=True)  # type: ignore[assignment]  # DRF's own attribute

    class Meta:
        model = Corpus
        fields = [
            "slug",
            "source",
            "revision",
            "text_column",
            "chat",
            "packing",
            "bos",
            "licence",
            "note",
            "created",
        ]
        read_only_fields = fields


class ReadoutSerializer(serializers.Serializer[Any]):
    """Computation of logit effects: the final norm, and the rows of the unembedding that were left
    out.
    """

    norm = serializers.CharField(
        help_text="Class of the model's final norm; empty where it has none."
    )
    centred = serializers.BooleanField(
        help_text="Whether that norm subtracts the mean, and so do the effects."
    )
    gain_low = serializers.FloatField(help_text="Smallest factor of the norm's gain.")
    gain_high = serializers.FloatField(help_text="Largest factor.")
    through = serializers.CharField(
        help_text="What stands between the SAE and the residual stream; empty for nothing."
    )
    rows = serializers.IntegerField(help_text="Rows of the unembedding.")
    special = serializers.IntegerField(help_text="Of these left out as special tokens.")
    unused = serializers.IntegerField(
        help_text="Left out as placeholders, or rows without a token."
    )
    fallback = serializers.IntegerField(help_text="Left out as fallbacks for single bytes.")


class MappedSerializer(serializers.Serializer[Any]):
    """What is on an SAE's map, and how it was computed."""

    features = serializers.IntegerField(
        help_text="Live features on it; 0 where they were too few for a map."
    )
    clusters = serializers.IntegerField(help_text="Groups among them.")
    neighbours = serializers.IntegerField(
        help_text="Nearest features that held each in its place, itself among them."
    )
    seed = serializers.IntegerField()
    made_with = serializers.CharField(help_text="The libraries, with their versions.")


class LeftOutSerializer(serializers.Serializer[Any]):
    """How many tokens were left out, by reason; each has the first that applies."""

    special = serializers.IntegerField(help_text="Special tokens, such as BOS.")
    first = serializers.IntegerField(help_text="Among the first tokens of their context.")
    outliers = serializers.IntegerField(help_text="Of too large a norm, such as attention sinks.")


class RuleSerializer(serializers.Serializer[Any]):
    """Which tokens count at the hook; special tokens never do."""

    norm_ratio = serializers.FloatField(
        help_text="Tokens whose activation has a norm above this many times `median_norm` are left "
        "out; 0: none is."
    )
    median_norm = serializers.FloatField(
        help_text="Median norm at the hook, measured once for the SAE; 0 until it was."
    )
    first_positions = serializers.IntegerField(
        help_text="Tokens left out at the start of each context, after special ones."
    )


class CountedTokensSerializer(RuleSerializer):
    """Which tokens counted, and how many did not."""

    left_out = LeftOutSerializer(
        allow_null=True, help_text="Null where nothing was counted, as of an imported SAE."
    )


class ProvenanceSerializer(serializers.ModelSerializer[Dashboard]):
    """The run behind the features of an SAE: model revision, SAE hash, corpus, tokens, job and
    version.
    """

    corpus: Slug = serializers.SlugRelatedField(slug_field="slug", read_only=True)
    job = serializers.IntegerField(
        source="job_id", allow_null=True, read_only=True, help_text="Its id."
    )
    code_version = TextField(read_only=True, help_text="Version of Featurescope.")
    readout = ReadoutSerializer(
        allow_null=True, read_only=True, help_text="Null for dashboards of earlier versions."
    )
    map = MappedSerializer(allow_null=True, read_only=True, help_text="Null until the map is made.")
    counted_tokens = CountedTokensSerializer(
        read_only=True, help_text="Which tokens counted, and how many did not."
    )

    class Meta:
        model = Dashboard
        fields = [
            "model_revision",
            "sae_sha256",
            "corpus",
            "corpus_revision",
            "context_size",
            "tokens",
            "counted_tokens",
            "alive",
            "density_histogram",
            "job",
            "code_version",
            "readout",
            "map",
            "made",
        ]
        read_only_fields = fields


class EvaluationSerializer(serializers.Serializer[Any]):
    """Quality of an SAE on held-out text."""

    tokens = serializers.IntegerField(help_text="Held-out tokens that the values are over.")
    counted_tokens = CountedTokensSerializer(
        help_text="Which tokens counted, and how many did not."
    )
    corpus = serializers.CharField(help_text="Slug of the corpus.")
    values = serializers.DictField(
        child=serializers.FloatField(), help_text="By name; docs/numbers.md defines each."
    )
    density_histogram = serializers.ListField(
        child=serializers.IntegerField(), help_text=about("eval_density_histogram")
    )


class SaeSerializer(serializers.ModelSerializer[Sae]):
    """A sparse autoencoder, and the evidence of how good it is."""

    model: Slug = serializers.SlugRelatedField(slug_field="slug", read_only=True)
    url = serializers.CharField(source="get_absolute_url", read_only=True, help_text=PAGE)
    corpus: Slug = serializers.SlugRelatedField(
        slug_field="slug", read_only=True, allow_null=True, help_text="What it was trained on."
    )
    config = serializers.DictField(read_only=True, help_text="The settings it was trained with.")
    counted_tokens = CountedTokensSerializer(
        read_only=True, help_text="Which tokens counted in its training, or count by default."
    )
    training_metrics = serializers.DictField(
        child=serializers.FloatField(),
        read_only=True,
        help_text="The last metrics of its training, by name.",
    )
    evaluation = EvaluationSerializer(allow_null=True, read_only=True)
    origin = serializers.DictField(
        source="shown_origin",
        allow_null=True,
        read_only=True,
        help_text="Where it was imported from, the test that it took, and warnings; null where "
        "it was made here.",
    )
    made_by = serializers.IntegerField(
        source="made_by_id",
        allow_null=True,
        read_only=True,
        help_text="Id of the job that trained it.",
    )
    evaluated_by = serializers.IntegerField(
        source="evaluated_by_id",
        allow_null=True,
        read_only=True,
        help_text="Id of the job that measured it.",
    )
    provenance = ProvenanceSerializer(
        source="dashboard",
        allow_null=True,
        read_only=True,
        help_text="Null until its features can be explored.",
    )

    class Meta:
        model = Sae
        fields = [
            "model",
            "slug",
            "url",
            "hook",
            "architecture",
            "d_in",
            "width",
            "context_size",
            "sha256",
            "corpus",
            "config",
            "counted_tokens",
            "training_metrics",
            "evaluation",
            "origin",
            "made_by",
            "evaluated_by",
            "provenance",
            "created",
        ]
        read_only_fields = fields
        extra_kwargs = {
            "d_in": {"help_text": about("d_in")},
            "width": {"help_text": about("width")},
        }
