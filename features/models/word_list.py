"""Word lists, which are concepts for labels."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now

from features.slugs import is_slug


class WordList(models.Model):
    """Named words and phrases. It never changes, because the provenance of labels names it."""

    slug = models.CharField(max_length=63, unique=True, validators=[is_slug])
    entries = ArrayField(models.TextField())
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="word_lists"
    )
    created = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.slug

    def get_absolute_url(self) -> str:
        """Its page."""
        return f"/labels/lists/{self.slug}/"
