"""Labels: claims of what a feature means, with their words' history, their scores and people's
votes.
"""

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
"""Characters of a label: a claim, not an essay."""


UPLOADED = "upload:"
"""What the method of an uploaded label begins with: what a file says that it came from is not what
was run here.
"""


class LabelQuerySet(models.QuerySet["Label"]):
    """Filters on labels, to be chained."""

    def shown(self) -> Self:
        """Those that nobody hid, and that were not merged into another."""
        return self.filter(state=Label.State.SHOWN)


class Label(models.Model):
    """What somebody, or some method, says that a feature means.

    Votes and scores are of the words they were given to: `version` counts the words, and only what
    names the present version counts. `up`, `down`, `score` and `support` follow from other rows by
    `features.services.consensus`.

    `density` and `causal_effect` are the feature's: what searches filter by stands beside the
    words, as a feature's row is wide and lies elsewhere. The consensus copies them, and a trigger
    when the feature's change.
    """

    class State(models.TextChoices):
        """Whether it is shown. What is hidden or merged stays, for its history and for whoever
        restores it.
        """

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
        max_length=50, help_text="“person”, or what made it: concept, logits, an explainer …"
    )
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="labels"
    )
    job = models.ForeignKey(Job, models.SET_NULL, null=True, related_name="+")
    upload = models.ForeignKey("LabelUpload", models.SET_NULL, null=True, related_name="labels")
    provenance = models.JSONField(
        default=dict, help_text="How the method came to it: settings, examples shown, prompt."
    )
    version = models.PositiveIntegerField(
        db_default=1, default=1, help_text="Which words these are, counted from 1."
    )
    state = models.CharField(
        max_length=10, choices=State, db_default=State.SHOWN, default=State.SHOWN
    )
    merged_into = models.ForeignKey("self", models.SET_NULL, null=True, related_name="merged")
    weight = models.SmallIntegerField(
        db_default=0, default=0, help_text="Trust in its author; 0 of a machine's."
    )
    up = models.IntegerField(db_default=0, default=0, help_text="Weights of votes for these words.")
    down = models.IntegerField(db_default=0, default=0, help_text="Weights of votes against them.")
    score = models.FloatField(
        null=True,
        help_text="Balanced accuracy or AUROC on held-out examples by `score_kind`; chance is 0.5.",
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
    """Words, their stems, signs, and “sae:ID”: what features.selectors.label_words searches."""

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
    """The words of a label at one version, and who put them."""

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
    """How well the words of one version of a label tell, on held-out examples, where the feature
    fires.

    Scores of different kinds measure different things and are never averaged.
    """

    class Kind(models.TextChoices):
        """What was measured, in the order in which one of them is taken as the label's evidence."""

        DETECTION = "detection", "detection: which texts hold the feature"
        FUZZING = "fuzzing", "fuzzing: whether the marked tokens are right"
        EMBEDDING = "embedding", "embedding: nearness of the label and the text"
        CONCEPT = "concept", "concept: the stated rule, token by token"
        PROMOTES = "promotes", "promotes: the next token"
        SIMULATION = "simulation", "simulation: activations guessed from the label"
        INTRUDER = "intruder", "intruder: the text that does not belong, without the label"

    EVIDENCE = (Kind.DETECTION, Kind.FUZZING, Kind.EMBEDDING, Kind.CONCEPT, Kind.PROMOTES)
    """A simulation's correlation has another chance level, so it is shown and ranks nothing."""

    label = models.ForeignKey(Label, models.CASCADE, related_name="scores")
    version = models.PositiveIntegerField(
        db_default=1, default=1, help_text="The words that were scored."
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
    """One person for or against the words of one version of a label."""

    label = models.ForeignKey(Label, models.CASCADE, related_name="votes")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="votes")
    value = models.SmallIntegerField(choices=[(1, "for"), (-1, "against")])
    version = models.PositiveIntegerField(help_text="The words that were voted on.")
    weight = models.SmallIntegerField(help_text="Trust in the voter; 0 while suspended.")
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
