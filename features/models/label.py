"""Labels of features, with their revisions, scores and votes."""

from typing import Self

from django.conf import settings
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.db import models
from django.db.models.functions import Lower, Now

from features.db.fields import RealField
from features.models.catalog import Sae
from features.models.feature import Feature
from features.models.job import Job

LONGEST = 500
"""Characters of a label."""

UPLOADED = "upload:"
"""Prefix of the method of an uploaded label: the file's method was not run here."""


class LabelQuerySet(models.QuerySet["Label"]):
    """Filters on labels."""

    def shown(self) -> Self:
        """Labels that are neither hidden nor merged into another."""
        return self.filter(state=Label.State.SHOWN)


class Label(models.Model):
    """A claim by a person or a method about what a feature means.

    Votes and scores belong to one version of the text; only those of the current `version` count.
    `features.services.consensus` computes `up`, `down`, `score` and `support` from them.

    `density` and `causal_effect` are copies of the feature's, so that searches filter without
    reading the wide rows of features. The consensus writes them, and a trigger updates them.
    """

    class State(models.TextChoices):
        """Visibility. Hidden and merged labels can be restored."""

        SHOWN = "shown", "shown"
        HIDDEN = "hidden", "hidden"
        MERGED = "merged", "merged into another"

    PERSON = "person"

    feature = models.ForeignKey(Feature, models.CASCADE, related_name="labels")
    sae = models.ForeignKey(
        Sae, models.CASCADE, related_name="+", help_text="The feature's, for searches."
    )
    text = models.CharField(max_length=LONGEST)
    method = models.CharField(
        max_length=50, help_text="“person”, or the method: concept, logits, an explainer …"
    )
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="labels"
    )
    job = models.ForeignKey(Job, models.SET_NULL, null=True, related_name="+")
    upload = models.ForeignKey("LabelUpload", models.SET_NULL, null=True, related_name="labels")
    provenance = models.JSONField(
        default=dict, help_text="How the method derived it: settings, examples, prompt."
    )
    version = models.PositiveIntegerField(
        db_default=1, default=1, help_text="Version of the text, from 1."
    )
    state = models.CharField(
        max_length=10, choices=State, db_default=State.SHOWN, default=State.SHOWN
    )
    merged_into = models.ForeignKey("self", models.SET_NULL, null=True, related_name="merged")
    weight = models.SmallIntegerField(
        db_default=0, default=0, help_text="Weight of its author; 0 for a method."
    )
    up = models.IntegerField(
        db_default=0, default=0, help_text="Sum of weights of votes for the current text."
    )
    down = models.IntegerField(
        db_default=0, default=0, help_text="Sum of weights of votes against it."
    )
    score = models.FloatField(
        null=True,
        help_text="F1 on held-out examples by `score_kind`; AUROC for kinds without an F1.",
    )
    score_kind = models.CharField(max_length=20, blank=True, db_default="", default="")
    support = models.FloatField(db_default=0, default=0, help_text="What the consensus ranks by.")
    density = models.FloatField(db_default=0, default=0, help_text="The feature's, for searches.")
    causal_effect = RealField(db_default=0, default=0, help_text="The feature's, for searches.")
    created = models.DateTimeField(db_default=Now())
    updated = models.DateTimeField(db_default=Now())
    words = models.GeneratedField(
        expression=models.Func("text", "sae", function="features_label_words"),
        output_field=SearchVectorField(),
        db_persist=True,
    )
    """Words, their stems, signs and “sae:ID”, which features.selectors.label_query searches."""

    objects = LabelQuerySet.as_manager()

    class Meta:
        ordering = ["-support", "id"]
        constraints = [
            models.UniqueConstraint(
                "feature",
                "method",
                Lower("text"),
                condition=models.Q(state="shown"),
                name="label_said_once",
            ),
            models.CheckConstraint(condition=~models.Q(text=""), name="a_label_has_words"),
        ]
        indexes = [
            models.Index(fields=["sae", "method"], name="label_by_method"),
            models.Index(fields=["author", "-id"], name="label_by_author"),
            GinIndex(fields=["words"], condition=models.Q(state="shown"), name="label_by_words"),
            models.Index(fields=["sae", "-id"], name="label_by_sae"),
        ]

    def __str__(self) -> str:
        return self.text

    def get_absolute_url(self) -> str:
        """Its page, with its history."""
        return f"/labels/{self.pk}/"

    @property
    def by_person(self) -> bool:
        """Whether a person proposed it."""
        return self.method == self.PERSON


class LabelRevision(models.Model):
    """One version of a label's text, and its author."""

    label = models.ForeignKey(Label, models.CASCADE, related_name="revisions")
    version = models.PositiveIntegerField()
    text = models.CharField(max_length=LONGEST)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    note = models.CharField(
        max_length=300, blank=True, db_default="", default="", help_text="Why it was changed."
    )
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["label", "version"]
        constraints = [models.UniqueConstraint(fields=["label", "version"], name="revision_once")]

    def __str__(self) -> str:
        return f"{self.label_id} v{self.version}"


class LabelScore(models.Model):
    """How well one version of a label predicts, on held-out examples, where the feature fires.

    Scores of different kinds measure different things and are never averaged.
    """

    class Kind(models.TextChoices):
        """What was measured. The first kind of `EVIDENCE` that a label has is its evidence."""

        DETECTION = "detection", "detection: which texts hold the feature"
        FUZZING = "fuzzing", "fuzzing: whether the marked tokens are right"
        EMBEDDING = "embedding", "embedding: nearness of the label and the text"
        CONCEPT = "concept", "concept: the stated rule, token by token"
        PROMOTES = "promotes", "promotes: the next token"
        SIMULATION = "simulation", "simulation: activations guessed from the label"
        INTRUDER = "intruder", "intruder: the text that does not belong, without the label"

    EVIDENCE = (Kind.DETECTION, Kind.FUZZING, Kind.EMBEDDING, Kind.CONCEPT, Kind.PROMOTES)
    """Kinds with a chance level of 0.5; a simulation's correlation does not rank labels."""

    label = models.ForeignKey(Label, models.CASCADE, related_name="scores")
    version = models.PositiveIntegerField(
        db_default=1, default=1, help_text="Version of the text that was scored."
    )
    kind = models.CharField(max_length=20, choices=Kind)
    scorer = models.CharField(
        max_length=200, blank=True, db_default="", default="", help_text="The model that judged."
    )
    negatives = models.CharField(
        max_length=20, blank=True, db_default="", default="", help_text="random or hard."
    )
    value = models.FloatField(
        help_text="The kind's own number: F1, balanced accuracy, AUROC or correlation."
    )
    low = models.FloatField(null=True, help_text="Lower end of its 95% interval.")
    high = models.FloatField(null=True)
    n = models.PositiveIntegerField(help_text="Held-out examples it was measured on.")
    f1 = models.FloatField(null=True)
    balanced_accuracy = models.FloatField(null=True)
    auroc = models.FloatField(null=True)
    details = models.JSONField(default=dict)
    job = models.ForeignKey(Job, models.SET_NULL, null=True, related_name="+")
    made = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["kind", "scorer", "negatives"]
        constraints = [
            models.UniqueConstraint(
                fields=["label", "version", "kind", "scorer", "negatives"],
                name="score_once_per_words",
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.value:.2f}"


class Vote(models.Model):
    """One person's vote for or against one version of a label."""

    label = models.ForeignKey(Label, models.CASCADE, related_name="votes")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="votes")
    value = models.SmallIntegerField(choices=[(1, "for"), (-1, "against")])
    version = models.PositiveIntegerField(help_text="Version of the text that was voted on.")
    weight = models.SmallIntegerField(help_text="Weight of the voter; 0 while suspended.")
    at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["label", "user"], name="vote_once"),
            models.CheckConstraint(
                condition=models.Q(value__in=[1, -1]), name="a_vote_is_for_or_against"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} {self.value:+d} on {self.label_id}"
