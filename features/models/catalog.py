"""What there is to explore: language models with their tokens, corpora with their sequences, SAEs
with their dashboards.
"""

from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import HashIndex
from django.db import models
from django.db.models.functions import Now
from django.db.models.signals import pre_delete
from django.dispatch import receiver

from features import redaction
from features.slugs import is_slug, not_a_fixed_word


class LanguageModel(models.Model):
    """A causal language model as it was read from its configuration: its shape, revision and hook
    points.
    """

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
    hooks = ArrayField(
        models.CharField(max_length=100), help_text="Hook points that an SAE can read."
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

    def get_absolute_url(self) -> str:
        """The model's page."""
        return f"/{self.slug}/"


class Token(models.Model):
    """One row of a model's vocabulary, as the exact bytes it stands for: alone they may not be
    valid UTF-8.
    """

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
    """A named body of text that models are run on, and how it is cut into contexts."""

    class Packing(models.TextChoices):
        """Whether a context may hold more than one document."""

        PACKED = "packed", "Packed: documents joined, every context full"
        SEPARATE = "separate", "Separate: each document its own contexts, the last one shorter"

    class Bos(models.TextChoices):
        """Whether contexts begin with the model's token for a beginning."""

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
        """How it becomes contexts, in words: “chats by the model's template, documents packed,
        never a BOS”.
        """
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
        """Whether its contexts begin with BOS for an SAE (or a model) that has asked so, where the
        model has one.
        """
        return asked if self.bos == self.Bos.ASKED else self.bos == self.Bos.ALWAYS


class Sequence(models.Model):
    """Token ids of one context of a corpus, cut for a model: stored once, and only where an example
    needs it.
    """

    corpus = models.ForeignKey(Corpus, models.CASCADE, related_name="sequences")
    model = models.ForeignKey(LanguageModel, models.CASCADE, related_name="sequences")
    context_size = models.PositiveIntegerField()
    bos = models.BooleanField(
        db_default=True, default=True, help_text="Cut to begin with BOS, where the model has one."
    )
    position = models.PositiveIntegerField(
        help_text="Place in the corpus as cut, counted in contexts."
    )
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
    """A sparse autoencoder on one hook point of one model, and the evidence of how good it is."""

    model = models.ForeignKey(LanguageModel, models.CASCADE, related_name="saes")
    slug = models.CharField(max_length=63, validators=[is_slug])
    hook = models.CharField(max_length=100)
    architecture = models.CharField(max_length=50)
    d_in = models.PositiveIntegerField()
    width = models.PositiveIntegerField()
    context_size = models.PositiveIntegerField()
    artifact = models.CharField(
        max_length=500, help_text="Folder of the weights, below the artifacts' address."
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
    origin = models.JSONField(
        null=True,
        help_text="Where it was imported from, and how its test went; empty if made here.",
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
        """Whether it asks for contexts that begin with BOS: as it was trained; yes where nobody
        wrote that down.
        """
        return bool(self.config.get("prepend_bos", True))

    @property
    def shown_origin(self) -> dict[str, Any] | None:
        """The origin as everyone may see it: of a folder only its name."""
        return (
            {**self.origin, "source": redaction.of_source(self.origin["source"])}
            if self.origin
            else None
        )

    @property
    def alive_share(self) -> float:
        """Share of its features that fired on the dashboard's tokens. Raises
        `Dashboard.DoesNotExist` before there is one.
        """
        return self.dashboard.alive / self.width


@receiver(pre_delete, sender=Sae)
@receiver(pre_delete, sender=Corpus)
def wait_for_writers(instance: Sae | Corpus, **_: Any) -> None:
    """Let a range that is being written end first, so that what it wrote goes too; the next one
    finds nothing to write to.
    """
    type(instance).objects.select_for_update().filter(pk=instance.pk).first()


class Dashboard(models.Model):
    """The run that computed the features of an SAE: written last, so its presence says that they
    are complete.
    """

    sae = models.OneToOneField(Sae, models.CASCADE, related_name="dashboard")
    corpus = models.ForeignKey(Corpus, models.CASCADE, related_name="+")
    job = models.ForeignKey("Job", models.SET_NULL, null=True, related_name="+")
    tokens = models.BigIntegerField(help_text="Tokens counted; special tokens are left out.")
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
        help_text="features, clusters, neighbours, seed and made_with of the map; null until made.",
    )
    mapped_by = models.ForeignKey("Job", models.SET_NULL, null=True, related_name="+")
    readout = models.JSONField(
        null=True,
        help_text="How the logits were made: norm, centred, through, masked rows by reason, "
        "vocabulary.",
    )
    made = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{self.sae} on {self.tokens:,} tokens of {self.corpus}"
