"""Which feature needs a label most: docs/labels.md states the order."""

from typing import Any

from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet

from features.db import keyset
from features.models import Feature, Label, Sae, Vote

DENSE_ENOUGH, TOO_DENSE = 1e-5, 0.1
"""Below the one a feature is too rare for a label to tell anybody much; above the other it seldom
means one thing.
"""
KEYS = ["disputed", "-density", "id"]


def waiting(sae: Sae, visitor: int | None = None) -> QuerySet[Feature]:
    """Features of an SAE that need a label, in the order in which they do; without those that the
    visitor had a say on.

    First live ones without a label whose density is from `DENSE_ENOUGH` to `TOO_DENSE`, then the
    disputed ones; of each the densest first.
    """
    unlabelled = Q(label=None, fires__gt=0, density__gte=DENSE_ENOUGH, density__lte=TOO_DENSE)
    rows = Feature.objects.filter(unlabelled | Q(disputed=True), sae=sae)
    if visitor is None:
        return rows
    labelled = Label.objects.shown().filter(feature=OuterRef("pk"), author=visitor)
    voted = Vote.objects.filter(
        label__feature=OuterRef("pk"), user=visitor, version=F("label__version")
    )
    return rows.exclude(Exists(labelled)).exclude(Exists(voted))


def first(sae: Sae, visitor: int | None, cursor: str = "") -> tuple[Feature | None, str]:
    """The feature that comes after `cursor`, and the cursor to skip it. Raises
    `keyset.BadCursor`.
    """
    of = f"queue {sae.pk}"
    found = keyset.page(waiting(sae, visitor), KEYS, limit=1, cursor=cursor, of=of)
    return (found.rows[0], found.next) if found.rows else (None, "")


def left(sae: Sae, visitor: int | None) -> dict[str, Any]:
    """How many wait, by kind."""
    return waiting(sae, visitor).aggregate(
        unlabelled=Count("pk", filter=Q(disputed=False)),
        disputed=Count("pk", filter=Q(disputed=True)),
    )
