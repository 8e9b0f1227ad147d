"""Writing collections."""

import re
from collections.abc import Collection as Some
from collections.abc import Iterable
from typing import Any

from django.db import transaction
from django.db.models import Max
from django.db.models.functions import Now

from features.models import Collection, CollectionItem, Feature
from features.models.collection import (
    LONGEST_ABOUT,
    LONGEST_NAME,
    LONGEST_NOTE,
    MAX_COLLECTIONS,
    MAX_ITEMS,
)
from features.records import InvalidInput
from features.text_cleaning import clean

MAX_NAMED = 5
"""Features that a refusal names."""


def create(name: str, *, by: Any, about: str = "", public: bool = False) -> Collection:
    """A new one, empty. Raises `InvalidInput`."""
    if Collection.objects.filter(owner=by).count() >= MAX_COLLECTIONS:
        raise InvalidInput(
            "name",
            f"You have {MAX_COLLECTIONS} collections, as many as one user may have: delete one "
            "first.",
        )
    return Collection.objects.create(
        owner=by, name=_name(name), about=_text("about", about, LONGEST_ABOUT), public=public
    )


def change(
    collection: Collection,
    *,
    name: str | None = None,
    about: str | None = None,
    public: bool | None = None,
) -> None:
    """Other words, or another audience; what is None stays. Raises `InvalidInput`."""
    changes: dict[str, Any] = {}
    if name is not None:
        changes["name"] = _name(name)
    if about is not None:
        changes["about"] = _text("about", about, LONGEST_ABOUT)
    if public is not None:
        changes["public"] = public
    Collection.objects.filter(pk=collection.pk).update(**changes, updated=Now())


def named(names: Iterable[str]) -> list[int]:
    """Ids of the features named MODEL/SAE/INDEX, or MODEL/SAE/INDEX,INDEX,… for several. Raises
    `InvalidInput`.
    """
    wanted: dict[str, tuple[str, str, int]] = {}
    for name in names:
        model, sae, indices = parts if len(parts := name.strip().split("/")) == 3 else ("", "", "")
        for index in indices.split(","):
            if not re.fullmatch(r"[0-9]{1,9}", index) or "\0" in name:
                raise InvalidInput(
                    "features", f"“{name[:100]}” names no feature: write MODEL/SAE/INDEX."
                )
            wanted[f"{model}/{sae}/{int(index)}"] = (model, sae, int(index))
    if not wanted:
        raise InvalidInput("features", "Choose one feature or more.")
    if len(wanted) > MAX_ITEMS:
        raise InvalidInput(
            "features", f"{len(wanted):,} features; a collection holds at most {MAX_ITEMS:,}."
        )
    found = _feature_ids(wanted.values())
    if missing := [name for name in wanted if name not in found]:
        others = f" and {len(missing) - MAX_NAMED:,} others" if len(missing) > MAX_NAMED else ""
        raise InvalidInput(
            "features", f"There is no feature {', '.join(missing[:MAX_NAMED])}{others}."
        )
    return [found[name] for name in wanted]


@transaction.atomic
def add(collection: Collection, features: Some[int], *, note: str = "") -> int:
    """Put features at its end, those that it has stay where they are; how many are new. Raises
    `InvalidInput`.
    """
    _hold(collection)
    there = set(collection.items.values_list("feature_id", flat=True))
    new = [pk for pk in dict.fromkeys(features) if pk not in there]
    if len(there) + len(new) > MAX_ITEMS:
        raise InvalidInput(
            "features",
            f"It would hold {len(there) + len(new):,} features; at most {MAX_ITEMS:,} fit on "
            "its page.",
        )
    last = collection.items.aggregate(last=Max("position"))["last"] or 0
    words = _text("note", note, LONGEST_NOTE)
    CollectionItem.objects.bulk_create(
        CollectionItem(collection=collection, feature_id=pk, position=last + place, note=words)
        for place, pk in enumerate(new, 1)
    )
    return len(new)


@transaction.atomic
def annotate(item: CollectionItem, note: str) -> None:
    """Another note. Raises `InvalidInput`."""
    CollectionItem.objects.filter(pk=item.pk).update(note=_text("note", note, LONGEST_NOTE))
    _touch(item.collection_id)


@transaction.atomic
def move(item: CollectionItem, place: int) -> None:
    """Put it at that place, counted from 1; beyond the end is the end."""
    _hold(item.collection)
    order = list(item.collection.items.exclude(pk=item.pk))
    order.insert(min(max(place, 1), len(order) + 1) - 1, item)
    for position, other in enumerate(order, 1):
        other.position = position
    CollectionItem.objects.bulk_update(order, ["position"])


@transaction.atomic
def remove(item: CollectionItem) -> None:
    """Take a feature out; the feature itself stays."""
    CollectionItem.objects.filter(pk=item.pk).delete()
    _touch(item.collection_id)


def _hold(collection: Collection) -> None:
    """Of two who write at once the second counts what the first wrote."""
    Collection.objects.select_for_update(no_key=True).get(pk=collection.pk)
    _touch(collection.pk)


def _touch(pk: int) -> None:
    Collection.objects.filter(pk=pk).update(updated=Now())


def _feature_ids(wanted: Iterable[tuple[str, str, int]]) -> dict[str, int]:
    """Ids by name, one query an SAE."""
    by_sae: dict[tuple[str, str], list[int]] = {}
    for model, sae, index in wanted:
        by_sae.setdefault((model, sae), []).append(index)
    return {
        f"{model}/{sae}/{index}": pk
        for (model, sae), indices in by_sae.items()
        for index, pk in Feature.objects.of(model, sae)
        .filter(index__in=indices)
        .values_list("index", "pk")
    }


def _name(text: str) -> str:
    try:
        return clean(text, LONGEST_NAME)
    except InvalidInput as error:
        raise InvalidInput("name", error.message) from None


def _text(field: str, text: str, longest: int) -> str:
    """Words that may be none."""
    if not text.strip():
        return ""
    try:
        return clean(text, longest)
    except InvalidInput as error:
        raise InvalidInput(field, error.message) from None
