"""Reads of endpoints."""

from django.db.models import Q, QuerySet

from features.models import Endpoint


def usable_by(user: int | None) -> QuerySet[Endpoint]:
    """Those that this person may ask: one's own, and the instance's."""
    return Endpoint.objects.filter(Q(owner=None) | Q(owner=user))
