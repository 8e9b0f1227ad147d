"""Writing labels: proposals, edits and votes of people, and labels of methods."""

from collections.abc import Collection, Iterable, Mapping
from itertools import islice
from typing import Any

from django.db import transaction
from django.db.models import QuerySet, Value
from django.db.models.functions import Lower, Now

from features.models import Feature, Job, Label, LabelRevision, LabelScore, Sae, Vote
from features.models.label import LONGEST
from features.records import InvalidInput, LabelRecord, ScoreRecord
from features.services.consensus import recompute
from features.text_cleaning import clean, one_line

LONGEST_NOTE = 300
AT_ONCE = 5000
"""Labels of a method per INSERT."""


class Gone(InvalidInput):
    """The object was deleted in the meantime."""

    def __init__(self, noun: str) -> None:
        super().__init__("", f"This {noun} is not here any more; it was deleted meanwhile.")


class Changed(InvalidInput):
    """The text was edited in the meantime; nothing was written. `label` is the current one."""

    def __init__(self, label: Label) -> None:
        super().__init__(
            "text", f"It says “{label.text}” now: someone else edited it at the same time."
        )
        self.label = label


def lock(feature_id: int) -> None:
    """Lock the labels of a feature until the transaction ends. Raises `Gone`."""
    if not Feature.objects.select_for_update(no_key=True).filter(pk=feature_id).values_list("pk"):
        raise Gone("feature")


def present(label: Label) -> Label:
    """The current label, with its feature locked. Raises `Gone`, or `InvalidInput` if hidden."""
    lock(label.feature_id)
    now = Label.objects.filter(pk=label.pk).first()
    if now is None:
        raise Gone("label")
    if now.state != Label.State.SHOWN:
        raise InvalidInput(
            "", f"This label is {now.get_state_display()}; it cannot be changed or voted on."
        )
    return now


@transaction.atomic
def propose(feature: Feature, text: str, *, by: Any, weight: int) -> Label:
    """Write a person's label; if the feature has a label with this text, vote for that instead."""
    words = clean(text)
    lock(feature.pk)  # of two equal proposals at once, the second becomes a vote
    same = (
        Label.objects.shown()
        .annotate(lower=Lower("text"))
        .filter(feature=feature, lower=Lower(Value(words)))
        .first()
    )
    if same is not None:
        if same.author_id != by.pk:
            vote(same, 1, by=by, weight=weight)
        return same
    label = Label.objects.create(
        feature=feature,
        sae_id=feature.sae_id,
        text=words,
        method=Label.PERSON,
        author=by,
        weight=weight,
    )
    LabelRevision.objects.create(label=label, version=1, text=words, by=by)
    recompute([feature.pk])
    return label


@transaction.atomic
def edit(label: Label, text: str, *, seen: int, by: Any, note: str = "") -> Label:
    """Change the text of a label, of which the editor saw version `seen`.

    The old text stays in the history, with its votes and scores. Raises `Changed` if the label was
    edited since, and `InvalidInput` if another label of the feature has this text.
    """
    words, note = clean(text), one_line(note)
    if len(note) > LONGEST_NOTE:
        raise InvalidInput("note", f"At most {LONGEST_NOTE} characters.")
    now = present(label)
    if now.version != seen:
        raise Changed(now)
    if words == now.text:
        return now
    others = (
        Label.objects.shown().filter(feature=now.feature_id, method=now.method).exclude(pk=now.pk)
    )
    if others.annotate(lower=Lower("text")).filter(lower=Lower(Value(words))).exists():
        raise InvalidInput("text", "This feature has that label already; vote for it instead.")
    LabelRevision.objects.get_or_create(
        label=now, version=now.version, defaults={"text": now.text, "at": now.created}
    )
    now.text, now.version = words, now.version + 1
    Label.objects.filter(pk=now.pk).update(text=words, version=now.version, updated=Now())
    LabelRevision.objects.create(label=now, version=now.version, text=words, by=by, note=note)
    recompute([now.feature_id])
    now.refresh_from_db()
    return now


@transaction.atomic
def vote(label: Label, value: int, *, by: Any, weight: int, seen: int | None = None) -> None:
    """Vote for (1) or against (-1) a label, or withdraw the vote (0). It replaces an earlier vote.

    The vote belongs to version `seen`, or to the current one if None. A vote that crosses an edit
    does not count for the new text. Raises `Changed` if the voter has voted on a newer version.
    """
    now = present(label)
    if now.author_id == by.pk:
        raise InvalidInput("value", "This is your own label; it has your vote already.")
    given = Vote.objects.filter(label=now, user=by)
    version = now.version if seen is None else min(seen, now.version)
    if value and given.filter(version__gt=version).exists():
        raise Changed(now)
    if value:
        chosen = {"value": value, "version": version, "weight": weight, "at": Now()}
        Vote.objects.update_or_create(label=now, user=by, defaults=chosen)
    else:
        given.delete()
    recompute([now.feature_id])


@transaction.atomic
def write_found(
    sae: Sae,
    method: str,
    records: Iterable[LabelRecord],
    job: Job | None,
    only: Collection[int] | None = None,
) -> int:
    """Replace the labels of `method` for the features of an SAE, or for those at the indices
    `only`, in one transaction. Returns the number of new labels.

    Labels that people edited, voted on, discussed or reported remain.
    """
    mine = Label.objects.filter(sae=sae, method=method)
    if only is not None:
        mine = mine.filter(feature__index__in=only)
    untouched = mine.filter(
        version=1, state=Label.State.SHOWN, votes=None, comments=None, flags=None
    )
    features = dict(_locked(Feature.objects.filter(sae=sae)).values_list("index", "pk"))
    changed = set(mine.values_list("feature_id", flat=True))
    untouched.delete()
    kept = {(label.feature_id, label.text.lower()): label for label in mine}
    written = 0
    stream = iter(records)
    while some := list(islice(stream, AT_ONCE)):
        found = [
            (features[record.index], record)
            for record in some
            if record.index in features and one_line(record.text)
        ]
        new = {
            feature: Label(
                feature_id=feature,
                sae=sae,
                text=clean(r.text[:LONGEST]),
                method=method,
                job=job,
                provenance=r.provenance,
            )
            for feature, r in found
        }
        rows = {
            feature: kept.get((feature, label.text.lower()), label)
            for feature, label in new.items()
        }
        Label.objects.bulk_create(label for label in rows.values() if label.pk is None)
        _write_scores(((rows[feature], score) for feature, r in found for score in r.scores), job)
        changed.update(rows)
        written += len(rows)
    recompute(changed)
    return written


@transaction.atomic
def write_scores(scores: Mapping[Label, Iterable[ScoreRecord]], job: Job | None) -> int:
    """Add scores to labels, for the version that each had when it was loaded. Returns the number of
    scores.
    """
    list(
        _locked(Feature.objects.filter(pk__in={label.feature_id for label in scores})).values_list(
            "pk"
        )
    )
    there = set(
        Label.objects.filter(pk__in=[label.pk for label in scores]).values_list("pk", flat=True)
    )
    found = [
        (label, score) for label, some in scores.items() if label.pk in there for score in some
    ]
    _write_scores(found, job)
    recompute({label.feature_id for label, _ in found})
    return len(found)


def _locked(features: QuerySet[Feature]) -> QuerySet[Feature]:
    """Lock the labels of features, in the order in which all writers lock them."""
    return features.order_by("pk").select_for_update(no_key=True)


def _write_scores(scores: Iterable[tuple[Label, ScoreRecord]], job: Job | None) -> None:
    """Write scores of the current versions; they replace those of equal kind, scorer, negatives."""
    unique = ["label", "version", "kind", "scorer", "negatives"]
    values = [*(name for name in ScoreRecord._fields if name not in unique), "job"]
    LabelScore.objects.bulk_create(
        (
            LabelScore(label=label, version=label.version, job=job, **score._asdict())
            for label, score in scores
        ),
        update_conflicts=True,
        unique_fields=unique,
        update_fields=values,
        batch_size=AT_ONCE,
    )
