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
    """A user with a password. Curators moderate labels; staff also start jobs and see the admin.

    Roles and suspensions change through `explorer.roles`, which reweighs the user's labels.
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
    """A key of a user. Only its hash is stored: the key itself is shown once, when it is created.

    The key has 256 random bits, so one round of SHA-256 is enough; slow hashes are for passwords.
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
        """A new key of `user`: the row, and the key itself, which is stored nowhere."""
        key = f"fs_{secrets.token_urlsafe(32)}"
        return cls.objects.create(
            user=user, name=name, prefix=key[:PREFIX_LENGTH], sha256=_hash(key)
        ), key

    @classmethod
    def by_key(cls, key: str) -> Self | None:
        """The row of a valid key (not revoked, its user active), marked as used; else None."""
        valid = cls.objects.filter(revoked__isnull=True, user__is_active=True)
        row = valid.select_related("user").filter(sha256=_hash(key)).first()
        if row and (row.last_used is None or timezone.now() - row.last_used > USED_EVERY):
            cls.objects.filter(pk=row.pk).update(last_used=timezone.now())
        return row

    def revoke(self) -> None:
        """Invalidate the key; a second time changes nothing."""
        type(self).objects.filter(pk=self.pk, revoked__isnull=True).update(revoked=timezone.now())
        self.refresh_from_db(fields=["revoked"])


class RateLimit(models.Model):
    """How often one caller did something in a period; see `explorer.http.rate_limits`."""

    key = models.CharField(max_length=64, primary_key=True)
    count = models.IntegerField()
    ends = models.DateTimeField(db_index=True)


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
