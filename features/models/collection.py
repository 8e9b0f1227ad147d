"""Collections: ordered lists of features with notes."""

from typing import Self

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from features.models.feature import Feature

LONGEST_NAME, LONGEST_ABOUT, LONGEST_NOTE = 100, 2000, 500
MAX_ITEMS = 1000
"""Features in a collection, which is shown and downloaded as a whole."""
MAX_COLLECTIONS = 500
"""Collections of one person, which are listed as a whole."""


class CollectionQuerySet(models.QuerySet["Collection"]):
    """Filters on collections."""

    def visible_to(self, user: int | None) -> Self:
        """Public ones, and the private ones of the user of that id."""
        return (
            self.filter(models.Q(public=True) | models.Q(owner=user))
            if user
            else self.filter(public=True)
        )


class Collection(models.Model):
    """A named list of features of any SAEs. A private one is visible to its owner only."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="collections")
    name = models.CharField(max_length=LONGEST_NAME)
    about = models.CharField(max_length=LONGEST_ABOUT, blank=True, db_default="", default="")
    public = models.BooleanField(db_default=False, default=False)
    created = models.DateTimeField(db_default=Now())
    updated = models.DateTimeField(db_default=Now())

    objects = CollectionQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=~models.Q(name=""), name="a_collection_has_a_name")
        ]
        indexes = [
            models.Index(fields=["owner", "-id"], name="collection_by_owner"),
            models.Index(fields=["-id"], condition=models.Q(public=True), name="collection_public"),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        """The collection's page."""
        return f"/collections/{self.pk}/"


class CollectionItem(models.Model):
    """A feature in a collection, at most once, with a note."""

    collection = models.ForeignKey(Collection, models.CASCADE, related_name="items", db_index=False)
    feature = models.ForeignKey(Feature, models.CASCADE, related_name="+")
    position = models.IntegerField(help_text="Sort key, then id; may have gaps.")
    note = models.CharField(max_length=LONGEST_NOTE, blank=True, db_default="", default="")
    added = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["position", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["collection", "feature"], name="feature_once_in_a_collection"
            )
        ]

    def __str__(self) -> str:
        return f"{self.feature_id} in {self.collection_id}"
