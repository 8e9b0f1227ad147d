"""Word lists."""

from django.db.models import QuerySet
from django.db.models.functions import Coalesce

from features.models import WordList


def whole() -> QuerySet[WordList]:
    """Lists by name, with their owners and their `size`."""
    return (
        WordList.objects.select_related("owner")
        .annotate(size=Coalesce("entries__len", 0))
        .order_by("slug")
    )


def list_word_lists() -> QuerySet[WordList]:
    """The same without the entries."""
    return whole().defer("entries")
