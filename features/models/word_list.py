"""Lists of words that people keep, to be concepts of labels."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now

from features.slugs import is_slug


class WordList(models.Model):
    """Words and phrases under a name. It never changes: labels name it, and what they were learned
    from must stay what it was.
    """

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
