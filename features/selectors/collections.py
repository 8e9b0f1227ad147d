"""Lists of collections, and one collection with its features."""

from collections import defaultdict
from typing import Any, NamedTuple

from django.db.models import Count, QuerySet

from features.models import Collection, CollectionItem, Feature
from features.selectors.snippets import snippets
from features.token_spans import Span


class ItemView(NamedTuple):
    """A feature of a collection with the text around the peak of its best example."""

    item: CollectionItem
    feature: Feature
    snippet: list[Span]

    @property
    def name(self) -> str:
        """MODEL/SAE/INDEX."""
        return f"{self.feature.sae.model.slug}/{self.feature.sae.slug}/{self.feature.index}"


def list_collections(user: int | None, *, mine: bool) -> QuerySet[Collection]:
    """The user's collections if `mine`, else all public ones, with `count`."""
    rows = Collection.objects.filter(owner=user) if mine else Collection.objects.filter(public=True)
    return rows.select_related("owner").annotate(count=Count("items")).order_by("-id")


def collection(pk: int, user: int | None) -> Collection:
    """A collection that the user may see, with its owner. Raises `Collection.DoesNotExist`."""
    return Collection.objects.visible_to(user).select_related("owner").get(pk=pk)


def items(of: Collection) -> list[ItemView]:
    """The features of a collection, in order: one query, and two for each model."""
    rows = list(of.items.select_related("feature__sae__model", "feature__label"))
    by_model: dict[int, list[Feature]] = defaultdict(list)
    for row in rows:
        by_model[row.feature.sae.model_id].append(row.feature)
    snippet_of = {
        pk: snippet
        for model, features in by_model.items()
        for pk, snippet in snippets(features, model).items()
    }
    return [ItemView(row, row.feature, snippet_of.get(row.feature_id, [])) for row in rows]


def item_row(item: ItemView) -> dict[str, Any]:
    """A row of a download."""
    feature = item.feature
    return {
        "model": feature.sae.model.slug,
        "sae": feature.sae.slug,
        "index": feature.index,
        "label": feature.label.text if feature.label else "",
        "density": feature.density,
        "max_activation": feature.max_activation,
        "note": item.item.note,
    }
