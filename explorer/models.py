"""Users, the keys with which their programs call the API, and the counts of rate limits."""

import hashlib
import secrets
from datetime import timedelta
from typing import Self

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models.functions import Now
from django.utils import timezone

PREFIX_LENGTH = 11
USED_EVERY = timedelta(minutes=1)


class User(AbstractUser):
    """A person with a name and a password. Curators look after labels; staff start jobs too and see
    the admin pages.

    `explorer.roles` changes roles and suspends, as labels have to be counted anew.
    """

    curator = models.BooleanField(
        db_default=False,
        default=False,
        help_text="Edits, merges and hides labels, and suspends members.",
    )
    suspended = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="Since when this person may not write, and weighs nothing.",
    )


class ApiKey(models.Model):
    """A key of a user. Only its hash is kept: the key itself is shown once, when it is made.

    The key is 256 random bits, so one round of SHA-256 is enough; a slow hash is for what people
    choose themselves.
    """

    user = models.ForeignKey(User, models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=100, help_text="What the key is for.")
    prefix = models.CharField(
        max_length=PREFIX_LENGTH, help_text="The key's first characters, to tell keys apart."
    )
    sha256 = models.CharField(max_length=64, unique=True)
    created = models.DateTimeField(db_default=Now())
    last_used = models.DateTimeField(null=True, blank=True, help_text="To the minute.")
    revoked = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created"]
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.prefix}… ({self.name})"

    @classmethod
    def create(cls, user: User, name: str) -> tuple[Self, str]:
        """A new key of `user`: the row, and the key itself, which nobody can read again."""
        key = f"fs_{secrets.token_urlsafe(32)}"
        return cls.objects.create(
            user=user, name=name, prefix=key[:PREFIX_LENGTH], sha256=_hash(key)
        ), key

    @classmethod
    def by_key(cls, key: str) -> Self | None:
        """The row of a key that is valid now (its user is active, nobody revoked it), noted as
        used; else None.
        """
        valid = cls.objects.filter(revoked__isnull=True, user__is_active=True)
        found = valid.select_related("user").filter(sha256=_hash(key)).first()
        if found and (found.last_used is None or timezone.now() - found.last_used > USED_EVERY):
            cls.objects.filter(pk=found.pk).update(last_used=timezone.now())
        return found

    def revoke(self) -> None:
        """End the key's validity; a second time changes nothing."""
        type(self).objects.filter(pk=self.pk, revoked__isnull=True).update(revoked=timezone.now())
        self.refresh_from_db(fields=["revoked"])


class RateLimit(models.Model):
    """How often one caller did something in a period; see `explorer.http.rate_limits`."""

    key = models.CharField(max_length=64, primary_key=True)
    count = models.IntegerField()
    ends = models.DateTimeField(db_index=True)


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
