"""A feature of an SAE, and the contexts in which it fires."""

from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Expression
from django.db.models.functions import Now

from features.db.fields import RealField
from features.models.catalog import Sae, Sequence

FILTERED = ("fires", "density", "max_activation", "cluster", "causal_effect")
ORDERED = ("mean_activation", "decoder_norm", "encoder_decoder_cosine")


def _include(field: str) -> list[str]:
    """Columns that an index covers, so that a filtered list fetches only the rows that it shows."""
    return [
        "id",
        *(name for name in (*FILTERED, *(ORDERED if field in FILTERED else ())) if name != field),
    ]


def _listed(field: str, name: str) -> models.Index:
    """An index for lists of one SAE's features in this order, then by index."""
    return models.Index(fields=["sae", field, "index"], include=_include(field), name=name)


class FeatureQuerySet(models.QuerySet["Feature"]):
    """Filters on features."""

    def of(self, model: str | Expression, sae: str | Expression) -> Self:
        """Features of one SAE, by slugs."""
        return self.filter(sae__model__slug=model, sae__slug=sae)

    def alive(self) -> Self:
        """Features that fired on the dashboard's tokens."""
        return self.filter(fires__gt=0)

    def dead(self) -> Self:
        """Features that never fired on the dashboard's tokens."""
        return self.filter(fires=0)


class Feature(models.Model):
    """One direction of an SAE with its statistics; `FeatureRecord` and `FeatureMap` of
    features.records define every column.
    """

    sae = models.ForeignKey(Sae, models.CASCADE, related_name="features")
    index = models.PositiveIntegerField()
    fires = models.BigIntegerField()
    density = models.FloatField()
    max_activation = models.FloatField()
    mean_activation = models.FloatField()
    histogram = ArrayField(models.BigIntegerField())
    histogram_width = models.FloatField()
    band_edges = ArrayField(RealField())
    top_logit_ids = ArrayField(models.IntegerField())
    top_logits = ArrayField(RealField())
    bottom_logit_ids = ArrayField(models.IntegerField())
    bottom_logits = ArrayField(RealField())
    logit_histogram = ArrayField(models.IntegerField())
    logit_low = models.FloatField()
    logit_high = models.FloatField()
    nearest = ArrayField(
        models.IntegerField(), help_text="Indices by falling cosine of decoder directions."
    )
    nearest_cosines = ArrayField(RealField())
    decoder_norm = models.FloatField()
    encoder_decoder_cosine = models.FloatField()
    nearest_both = ArrayField(
        models.BigIntegerField(), default=list, help_text="Tokens that each of `nearest` shares."
    )
    cofiring = ArrayField(
        models.IntegerField(), default=list, help_text="Indices by falling Jaccard index of tokens."
    )
    cofiring_both = ArrayField(models.BigIntegerField(), default=list)
    cofiring_jaccards = ArrayField(RealField(), default=list)
    map_x = RealField(  # type: ignore[misc]  # the stubs want another class for a column that may be null
        null=True, help_text="Coordinate on the SAE's map; null if it is not on it."
    )
    map_y = RealField(null=True)  # type: ignore[misc]  # as above
    cluster = models.IntegerField(
        null=True, help_text="Cluster on the map, 0 is the largest; null if in none."
    )
    label = models.ForeignKey(
        "Label",
        models.SET_NULL,
        null=True,
        related_name="+",
        help_text="The consensus; see features.services.consensus.",
    )
    causal_effect = RealField(
        db_default=0,
        default=0,
        help_text="Effect size of adding it, see FeatureEffect; 0 until it is measured.",
    )
    best_dose = RealField(  # type: ignore[misc]  # as above
        null=True,
        help_text="Best strength of the latest sweep, in units of its maximum; null without one.",
    )
    disputed = models.BooleanField(
        db_default=False, default=False, help_text="People disagree on what it means."
    )
    updated = models.DateTimeField(db_default=Now())

    objects = FeatureQuerySet.as_manager()

    class Meta:
        ordering = ["sae", "index"]
        constraints = [
            models.UniqueConstraint(
                fields=["sae", "index"], name="feature_once", include=_include("index")
            ),
            models.CheckConstraint(
                condition=models.Q(density__gte=0, density__lte=1), name="density_is_a_share"
            ),
        ]
        indexes = [
            _listed("density", "feature_by_density"),
            _listed("max_activation", "feature_by_maximum"),
            _listed("mean_activation", "feature_by_mean"),
            _listed("decoder_norm", "feature_by_norm"),
            _listed("encoder_decoder_cosine", "feature_by_cosine"),
            _listed("cluster", "feature_by_cluster"),
            models.Index(
                fields=["sae", "index"],
                condition=models.Q(label__isnull=False),
                name="feature_with_a_label",
            ),
            models.Index(
                fields=["sae", "-density", "id"],
                condition=models.Q(label=None, fires__gt=0),
                name="feature_needs_a_label",
            ),
            models.Index(
                fields=["sae", "-density", "id"],
                condition=models.Q(disputed=True),
                name="feature_disputed",
            ),
            _listed("causal_effect", "feature_by_effect"),
            # Ties (thousands of unmeasured features) go by rising index, so the index above cannot
            # be
            # read backwards.
            models.Index(
                fields=["sae", "-causal_effect", "index"],
                include=_include("causal_effect"),
                name="feature_by_effect_falling",
            ),
            GinIndex(fields=["top_logit_ids"], name="feature_by_promoted"),
        ]

    def __str__(self) -> str:
        return f"{self.sae}/{self.index}"

    def get_absolute_url(self) -> str:
        """The feature's page."""
        return f"{self.sae.get_absolute_url()}{self.index}/"

    @property
    def alive(self) -> bool:
        """Whether it fired on the dashboard's tokens."""
        return self.fires > 0

    @property
    def top_tokens(self) -> list[int]:
        """The ten tokens that its direction promotes most."""
        return self.top_logit_ids[:10]


class Example(models.Model):
    """A context in which a feature fires: positions and values of all firings, without zeros.

    There are no foreign key constraints: checking them took half of the time of an ingest. The
    writer inserts feature and sequence in the same transaction, and holds the lock that deleting an
    SAE or corpus takes first (`catalog.wait_for_writers`).
    """

    pk = models.CompositePrimaryKey("feature", "band", "rank")
    feature = models.ForeignKey(
        Feature, models.CASCADE, related_name="examples", db_constraint=False, db_index=False
    )  # the primary key begins with it
    sequence = models.ForeignKey(Sequence, models.CASCADE, related_name="+", db_constraint=False)
    band = models.SmallIntegerField(
        help_text="0: the top examples; 1 (highest) to 5: an even sample of that band."
    )
    rank = models.SmallIntegerField()
    peak = models.SmallIntegerField(help_text="Position of the firing that put the example here.")
    positions = ArrayField(models.SmallIntegerField())
    values = ArrayField(RealField())
    left_out = ArrayField(
        models.SmallIntegerField(),
        default=list,
        help_text="Positions of tokens that are not special and do not count.",
    )

    class Meta:
        ordering = ["band", "rank"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(positions__len=models.F("values__len")),
                name="a_value_for_every_position",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.feature} in {self.sequence}"


class Peak(models.Model):
    """How many of a feature's top examples peak on one token, for searches by token.

    SAE and maximum are copied from the feature, so that one index answers without reading the wide
    rows of features. As in `Example`, there are no foreign key constraints.
    """

    pk = models.CompositePrimaryKey("feature", "token_id")
    feature = models.ForeignKey(
        Feature, models.CASCADE, related_name="peaks", db_constraint=False, db_index=False
    )  # the primary key begins with it
    sae = models.ForeignKey(
        Sae, models.CASCADE, related_name="+", db_constraint=False, db_index=False
    )  # peak_by_token begins with it
    token_id = models.IntegerField()
    examples = models.SmallIntegerField()
    maximum = RealField()

    class Meta:
        indexes = [
            models.Index(
                fields=["sae", "token_id"],
                include=["feature", "examples", "maximum"],
                name="peak_by_token",
            )
        ]

    def __str__(self) -> str:
        return f"{self.feature} on token {self.token_id}"
