"""Reads of collections: the lists, and one with everything in it."""

from collections import defaultdict
from typing import Any, NamedTuple

from django.db.models import Count, QuerySet

from features.models import Collection, CollectionItem, Feature
from features.selectors.snippets import snippets
from features.token_spans import Span


class Kept(NamedTuple):
    """A feature of a collection with the words around the peak of its best example."""

    item: CollectionItem
    feature: Feature
    snippet: list[Span]

    @property
    def name(self) -> str:
        """MODEL/SAE/INDEX."""
        return f"{self.feature.sae.model.slug}/{self.feature.sae.slug}/{self.feature.index}"


def list_collections(user: int | None, *, mine: bool) -> QuerySet[Collection]:
    """Those of a user, or else all public ones, newest first, with their owner and `count`."""
    rows = Collection.objects.filter(owner=user) if mine else Collection.objects.filter(public=True)
    return rows.select_related("owner").annotate(count=Count("items")).order_by("-id")


def collection(pk: int, user: int | None) -> Collection:
    """One that the user may see, with its owner. Raises `Collection.DoesNotExist`."""
    return Collection.objects.visible_to(user).select_related("owner").get(pk=pk)


def items(of: Collection) -> list[Kept]:
    """Everything in it, in order: one query, and two for each model."""
    rows = list(of.items.select_related("feature__sae__model", "feature__label"))
    by_model: dict[int, list[Feature]] = defaultdict(list)
    for row in rows:
        by_model[row.feature.sae.model_id].append(row.feature)
    seen = {
        pk: snippet
        for model, some in by_model.items()
        for pk, snippet in snippets(some, model).items()
    }
    return [Kept(row, row.feature, seen.get(row.feature_id, [])) for row in rows]


def plain(kept: Kept) -> dict[str, Any]:
    """A row of a download."""
    feature = kept.feature
    return {
        "model": feature.sae.model.slug,
        "sae": feature.sae.slug,
        "index": feature.index,
        "label": feature.label.text if feature.label else "",
        "density": feature.density,
        "max_activation": feature.max_activation,
        "note": kept.item.note,
    }
