"""Uploaded files of labels: validated and written as a whole, and undone as a whole."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from features.interchange.labels import LabelRow, check
from features.models import Feature, Label, LabelRevision, LabelScore, LabelUpload, Sae, Vote
from features.records import InvalidInput
from features.services.consensus import recompute
from features.services.moderation import note

AT_ONCE = 1000


class UndoneUpload(NamedTuple):
    """How many labels an undo removed, and how many it kept because people changed them since."""

    removed: int
    kept: int


@transaction.atomic
def upload(
    sae: Sae, name: str, rows: Sequence[Mapping[str, Any]], *, by: Any, weight: int, trusted: bool
) -> LabelUpload:
    """Write every row, or nothing. Raises `InvalidParams` with all errors, by row and column.

    The uploader becomes the author of labels by people, and votes for texts that exist already.
    Labels by methods keep the method's name, after “upload:”. Scores count if the uploader is
    `trusted`; otherwise they are only stored in the provenance.
    """
    listed = (
        Feature.objects.filter(sae=sae, index__in=_indices(rows))
        .order_by("pk")
        .select_for_update(no_key=True)
    )
    features = {index: pk for pk, index in listed.values_list("pk", "index")}
    labels = check(rows, sae, set(features))
    made = LabelUpload.objects.create(
        sae=sae, by=by, name=name[-200:], rows=len(labels), at=timezone.now()
    )
    there = _labels_by_text(features.values())
    new: list[tuple[Label, LabelRow]] = []
    seconded: list[Label] = []
    for row in labels:
        person = row.method == Label.PERSON
        same = there.get((features[row.index], row.text.lower(), "" if person else row.method))
        if same is None:
            new.append((_label(row, features[row.index], made, by, weight, trusted), row))
        elif person and same.author_id != by.pk:
            seconded.append(same)
    made.votes = _vote(seconded, made, by, weight)
    _write(new, by, trusted)
    made.added = len(new)
    made.save(update_fields=["added", "votes"])
    recompute(set(features.values()))
    return made


@transaction.atomic
def undo(upload: LabelUpload, *, by: Any) -> UndoneUpload:
    """Remove the labels and votes of an upload. Labels that people edited, voted on, discussed,
    reported or merged stay.
    """
    now = LabelUpload.objects.select_for_update().get(pk=upload.pk)
    if now.undone:
        raise InvalidInput("", "This upload was undone already.")
    # a vote that was given again since has another time
    votes = Vote.objects.filter(pk__in=now.votes, user=now.by, at=now.at)
    mine = Label.objects.filter(upload=now)
    touched = {
        *mine.values_list("feature", flat=True),
        *votes.values_list("label__feature", flat=True),
    }
    list(
        Feature.objects.filter(pk__in=touched)
        .order_by("pk")
        .select_for_update(no_key=True)
        .values_list("pk")
    )
    votes.delete()
    untouched = mine.filter(
        version=1, state=Label.State.SHOWN, votes=None, comments=None, flags=None, merged=None
    )
    gone = list(untouched.values_list("pk", flat=True))
    Label.objects.filter(pk__in=gone).update(state=Label.State.HIDDEN)
    recompute(touched)  # before the delete, so that each feature's wide row is written once
    Label.objects.filter(pk__in=gone).delete()
    removed, kept = len(gone), mine.count()
    LabelUpload.objects.filter(pk=now.pk).update(undone=Now(), undone_by=by, kept=kept)
    if by != now.by and now.by is not None:
        note(
            "undo upload",
            now.by,
            by=by,
            details={"text": str(now), "removed": removed, "kept": kept},
        )
    return UndoneUpload(removed, kept)


def _indices(rows: Sequence[Mapping[str, Any]]) -> set[int]:
    """All valid indices of the rows; `check` reports the others."""
    given = {str(row.get("index")).strip().removesuffix(".0") for row in rows}
    return {int(text) for text in given if text.isascii() and text.isdecimal() and len(text) < 10}


def _labels_by_text(features: Any) -> dict[tuple[int, str, str], Label]:
    """Shown labels by feature, text and method; the best one of any method under the method ""."""
    labels: dict[tuple[int, str, str], Label] = {}
    rows = Label.objects.shown().filter(feature__in=list(features)).order_by("-support", "id")
    for label in rows.only("feature", "text", "method", "author", "version").iterator():
        key = (label.feature_id, label.text.lower())
        labels.setdefault((*key, label.method), label)
        labels.setdefault((*key, ""), label)
    return labels


def _label(
    row: LabelRow, feature: int, made: LabelUpload, by: Any, weight: int, trusted: bool
) -> Label:
    person = row.method == Label.PERSON
    stated = dict(row.stated)
    if row.scores and not trusted:
        stated["scores"] = [score._asdict() for score in row.scores]
    return Label(
        feature_id=feature,
        sae=made.sae,
        text=row.text,
        method=row.method,
        upload=made,
        author=by if person else None,
        weight=weight if person else 0,
        provenance={"stated": stated} if stated else {},
    )


def _vote(labels: list[Label], made: LabelUpload, by: Any, weight: int) -> list[int]:
    """Vote for existing labels with the same text, unless the uploader has voted on them."""
    voted = set(Vote.objects.filter(label__in=labels, user=by).values_list("label", flat=True))
    new = {label.pk: label for label in labels if label.pk not in voted}
    votes = [
        Vote(label=one, user=by, value=1, version=one.version, weight=weight, at=made.at)
        for one in new.values()
    ]
    return [vote.pk for vote in Vote.objects.bulk_create(votes, batch_size=AT_ONCE)]


def _write(new: list[tuple[Label, LabelRow]], by: Any, trusted: bool) -> None:
    try:
        with transaction.atomic():
            Label.objects.bulk_create([label for label, _row in new], batch_size=AT_ONCE)
    except IntegrityError:  # PostgreSQL's lower() knows a few letters that Python's does not
        raise InvalidInput(
            "text", "Two rows of one feature say the same in other capitals."
        ) from None
    revisions = (
        LabelRevision(label=label, version=1, text=label.text, by=by) for label, _row in new
    )
    LabelRevision.objects.bulk_create(revisions, batch_size=AT_ONCE)
    if trusted:
        scores = (
            LabelScore(label=label, version=1, **score._asdict())
            for label, row in new
            for score in row.scores
        )
        LabelScore.objects.bulk_create(scores, batch_size=AT_ONCE)


def uploads() -> QuerySet[LabelUpload]:
    """Uploads, latest first."""
    return LabelUpload.objects.select_related("sae__model", "by", "undone_by").order_by("-id")
