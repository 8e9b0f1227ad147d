"""Language models and their tokens, corpora and their sequences, SAEs and their dashboards."""

import re
from collections.abc import Mapping
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import HashIndex
from django.db import models
from django.db.models.functions import Now
from django.db.models.signals import pre_delete
from django.dispatch import receiver

from features import redaction
from features.records import NORM_RATIO, CountingRule
from features.slugs import is_slug, not_a_fixed_word


class LanguageModel(models.Model):
    """A causal language model: shape, revision and hook points, from its configuration."""

    slug = models.CharField(max_length=63, unique=True, validators=[is_slug, not_a_fixed_word])
    source = models.CharField(max_length=500, help_text="Hub id or local Hugging Face folder.")
    revision = models.CharField(
        max_length=100, help_text="Commit of the hub, or content hash of the folder."
    )
    architecture = models.CharField(max_length=100)
    layers = models.PositiveIntegerField()
    d_model = models.PositiveIntegerField()
    vocabulary_size = models.PositiveIntegerField()
    context_size = models.PositiveIntegerField()
    parameters = models.BigIntegerField()
    dtype = models.CharField(max_length=20)
    bos_token_id = models.IntegerField(null=True)
    adds_bos = models.BooleanField(
        db_default=False,
        default=False,
        help_text="Whether its tokenizer begins a text with BOS by itself.",
    )
    hooks = ArrayField(
        models.CharField(max_length=100), help_text="Hook points that an SAE can read."
    )
    hook_refusals = models.JSONField(
        null=True,
        help_text="Hook points that it lacks, each with the reason; null if they were not checked.",
    )
    created = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.slug

    @property
    def source_name(self) -> str:
        """The source, without the path of a folder."""
        return redaction.of_source(self.source)

    def has_hook(self, hook: str) -> bool:
        """Whether it has a hook, those included that only transcoders read."""
        refused = hook in (self.hook_refusals or {})
        match = re.fullmatch(r"blocks\.(\d+)\.mlp\.hook_in", hook)
        return hook in self.hooks or (
            match is not None and int(match[1]) < self.layers and not refused
        )

    def without_hook(self, hook: str) -> str:
        """Why a hook cannot be used, in sentences."""
        has = f"It has {self.hooks[0]} to {self.hooks[-1]}." if self.hooks else ""
        reason = (self.hook_refusals or {}).get(hook, "")
        return " ".join(part for part in (f"{self} has no hook “{hook}”.", reason, has) if part)

    def get_absolute_url(self) -> str:
        """The model's page."""
        return f"/{self.slug}/"


class Token(models.Model):
    """One row of a model's vocabulary, as exact bytes, which may not be valid UTF-8 alone."""

    model = models.ForeignKey(LanguageModel, models.CASCADE, related_name="tokens")
    token_id = models.IntegerField()
    text = models.BinaryField()
    special = models.BooleanField(db_default=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["model", "token_id"], name="token_once")]
        indexes = [
            HashIndex(fields=["text"], name="token_by_text")
        ]  # a B-tree would refuse long tokens

    def __str__(self) -> str:
        return f"{self.token_id}: {bytes(self.text)!r}"


class Corpus(models.Model):
    """A named source of text, and the rules that cut it into contexts."""

    class Packing(models.TextChoices):
        """Whether a context may hold more than one document."""

        PACKED = "packed", "Packed: documents joined, every context full"
        SEPARATE = "separate", "Separate: each document its own contexts, the last one shorter"

    class Bos(models.TextChoices):
        """Whether contexts begin with the model's BOS token."""

        ASKED = "asked", "As the SAE asks, in training as the model does"
        ALWAYS = "always", "Always"
        NEVER = "never", "Never"

    slug = models.CharField(max_length=63, unique=True, validators=[is_slug])
    source = models.CharField(max_length=500, help_text="Hub id, file, folder, or python-stdlib.")
    revision = models.CharField(max_length=100)
    text_column = models.CharField(max_length=100, db_default="text")
    chat = models.BooleanField(
        db_default=False, default=False, help_text="It holds conversations, not texts."
    )
    packing = models.CharField(
        max_length=10, choices=Packing, db_default=Packing.PACKED, default=Packing.PACKED
    )
    bos = models.CharField(max_length=10, choices=Bos, db_default=Bos.ASKED, default=Bos.ASKED)
    licence = models.CharField(max_length=200, blank=True, db_default="")
    note = models.CharField(max_length=500, blank=True, db_default="")
    created = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["slug"]
        verbose_name_plural = "corpora"

    def __str__(self) -> str:
        return self.slug

    @property
    def source_name(self) -> str:
        """The source, without the path of a file or folder."""
        return redaction.of_source(self.source)

    @property
    def cut(self) -> str:
        """The rules in words, such as “documents packed, no BOS”."""
        bos = {
            "asked": "BOS as the SAE asks",
            "always": "each context after a BOS",
            "never": "no BOS",
        }[self.bos]
        packing = (
            "documents packed" if self.packing == self.Packing.PACKED else "each document apart"
        )
        return ", ".join(
            [*(["conversations by the model's chat template"] if self.chat else []), packing, bos]
        )

    def begins_with_bos(self, asked: bool) -> bool:
        """Whether contexts begin with BOS for an SAE or model that was trained so (`asked`)."""
        return asked if self.bos == self.Bos.ASKED else self.bos == self.Bos.ALWAYS


class Sequence(models.Model):
    """Token ids of one context of a corpus for one model; stored only if an example needs it."""

    corpus = models.ForeignKey(Corpus, models.CASCADE, related_name="sequences")
    model = models.ForeignKey(LanguageModel, models.CASCADE, related_name="sequences")
    context_size = models.PositiveIntegerField()
    bos = models.BooleanField(
        db_default=True, default=True, help_text="Cut to begin with BOS, where the model has one."
    )
    position = models.PositiveIntegerField(help_text="Number of the context in the corpus, from 0.")
    document = models.CharField(
        max_length=300, help_text="Name of the document that the context begins in."
    )
    token_ids = ArrayField(models.IntegerField())

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["corpus", "model", "context_size", "bos", "position"], name="sequence_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.document} @ {self.position}"


class Sae(models.Model):
    """A sparse autoencoder at one hook point of one model, with its evaluation."""

    model = models.ForeignKey(LanguageModel, models.CASCADE, related_name="saes")
    slug = models.CharField(max_length=63, validators=[is_slug])
    hook = models.CharField(max_length=100)
    architecture = models.CharField(max_length=50)
    d_in = models.PositiveIntegerField()
    width = models.PositiveIntegerField()
    context_size = models.PositiveIntegerField()
    artifact = models.CharField(
        max_length=500, help_text="Folder of the weights in the artifact store."
    )
    sha256 = models.CharField(max_length=64)
    config = models.JSONField(default=dict, help_text="The settings it was trained with.")
    training_metrics = models.JSONField(default=dict, help_text="The last metrics of its training.")
    evaluation = models.JSONField(
        null=True, help_text="Measured on held-out tokens; empty until it was evaluated."
    )
    evaluated_by = models.ForeignKey("Job", models.SET_NULL, null=True, related_name="+")
    corpus = models.ForeignKey(
        Corpus, models.SET_NULL, null=True, related_name="+", help_text="What it was trained on."
    )
    made_by = models.ForeignKey("Job", models.SET_NULL, null=True, related_name="+")
    counted_tokens = models.JSONField(
        default=dict,
        help_text="Which tokens count at its hook: norm_ratio, median_norm, first_positions; and "
        "left_out, how many of its training did not.",
    )
    origin = models.JSONField(
        null=True,
        help_text="Source of an imported SAE, and the result of its test; null if trained here.",
    )
    created = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["model__slug", "slug"]
        constraints = [
            models.UniqueConstraint(fields=["model", "slug"], name="sae_slug_once_per_model"),
            models.CheckConstraint(
                condition=models.Q(width__gt=0, d_in__gt=0), name="sae_has_a_size"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model.slug}/{self.slug}"

    def get_absolute_url(self) -> str:
        """The SAE's page."""
        return f"/{self.model.slug}/{self.slug}/"

    @property
    def prepend_bos(self) -> bool:
        """Whether it was trained on contexts with BOS; true if unknown."""
        return bool(self.config.get("prepend_bos", True))

    @property
    def rule(self) -> CountingRule:
        """Which tokens count at its hook, as it was trained or imported."""
        return _stored_rule({"norm_ratio": NORM_RATIO, **self.counted_tokens})

    @property
    def rule_of_dashboards(self) -> CountingRule:
        """Which tokens count in its dashboards, and so in what is measured in their maxima; its own
        rule without dashboards.
        """
        dashboard = getattr(self, "dashboard", None)
        return dashboard.rule if dashboard else self.rule

    @property
    def shown_origin(self) -> dict[str, Any] | None:
        """The origin without the path of a folder."""
        return (
            {**self.origin, "source": redaction.of_source(self.origin["source"])}
            if self.origin
            else None
        )

    @property
    def alive_share(self) -> float:
        """Share of features that fired. Raises `Dashboard.DoesNotExist` without a dashboard."""
        return self.dashboard.alive / self.width


@receiver(pre_delete, sender=Sae)
@receiver(pre_delete, sender=Corpus)
def wait_for_writers(instance: Sae | Corpus, **_: Any) -> None:
    """Wait for a range of features that is being written, so that its rows are deleted too."""
    type(instance).objects.select_for_update().filter(pk=instance.pk).first()


class Dashboard(models.Model):
    """The run that computed an SAE's features; written last, so it marks them complete."""

    sae = models.OneToOneField(Sae, models.CASCADE, related_name="dashboard")
    corpus = models.ForeignKey(Corpus, models.CASCADE, related_name="+")
    job = models.ForeignKey("Job", models.SET_NULL, null=True, related_name="+")
    tokens = models.BigIntegerField(help_text="Tokens counted, by `counted_tokens`.")
    counted_tokens = models.JSONField(
        default=dict,
        help_text="Which tokens count: norm_ratio, median_norm, first_positions; and left_out: "
        "special, first, outliers.",
    )
    context_size = models.PositiveIntegerField()
    alive = models.PositiveIntegerField(
        help_text="Features that fired at least once on those tokens."
    )
    density_histogram = ArrayField(
        models.IntegerField(), help_text="Features per half decade of density, from 1e-7 to 1."
    )
    sae_sha256 = models.CharField(max_length=64)
    model_revision = models.CharField(max_length=100)
    corpus_revision = models.CharField(max_length=100)
    code_version = models.CharField(max_length=50)
    map = models.JSONField(
        null=True,
        help_text="features, clusters, neighbours, seed and made_with of the map; null without "
        "one.",
    )
    mapped_by = models.ForeignKey("Job", models.SET_NULL, null=True, related_name="+")
    readout = models.JSONField(
        null=True,
        help_text="How logits were computed: norm, centred, through, masked rows, vocabulary.",
    )
    made = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{self.sae} on {self.tokens:,} tokens of {self.corpus}"

    @property
    def rule(self) -> CountingRule:
        """Which tokens count."""
        return _stored_rule(self.counted_tokens)


def _stored_rule(stored: Mapping[str, Any]) -> CountingRule:
    return CountingRule(**{name: stored[name] for name in CountingRule._fields if name in stored})
