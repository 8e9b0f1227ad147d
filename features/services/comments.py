"""Writing comments: the thread of a feature, or about one of its labels."""

from typing import Any

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from features.models import Comment, Feature, Label
from features.models.discussion import LONGEST_COMMENT
from features.records import InvalidInput
from features.services.labels import Gone, lock
from features.text_cleaning import clean_lines

DELETED = "deleted by its author"


@transaction.atomic
def comment(
    feature: Feature,
    text: str,
    *,
    by: Any,
    label: Label | None = None,
    parent: Comment | None = None,
) -> Comment:
    """A comment on a feature, about one of its labels, or in answer to another comment.
    `InvalidInput` for another feature's.
    """
    words = clean_lines(text, LONGEST_COMMENT)
    if parent is not None:
        label = parent.label
        if parent.feature_id != feature.pk:
            raise InvalidInput("parent", "It answers a comment on another feature.")
    if label is not None and label.feature_id != feature.pk:
        raise InvalidInput("label", "It is about a label of another feature.")
    lock(feature.pk)  # the rows it names can go only with the feature, or before
    if label is not None and not Label.objects.filter(pk=label.pk):
        raise Gone("label")
    if parent is not None and not Comment.objects.filter(pk=parent.pk):
        raise Gone("comment")
    return Comment.objects.create(
        feature=feature, label=label, parent=parent, author=by, text=words
    )


@transaction.atomic
def edit(comment: Comment, text: str) -> Comment:
    """Other words for a comment, marked as edited."""
    words, now = clean_lines(text, LONGEST_COMMENT), _present(comment)
    if words != now.text:
        Comment.objects.filter(pk=now.pk).update(text=words, edited=Now())
        now.refresh_from_db()
    return now


@transaction.atomic
def delete(comment: Comment) -> None:
    """Take a comment back. Where others have answered or reported it, its place stays, without its
    words.
    """
    now = _present(comment)
    if Comment.objects.filter(Q(replies__isnull=False) | Q(flags__isnull=False), pk=now.pk):
        Comment.objects.filter(pk=now.pk).update(text=DELETED, deleted=True, edited=Now())
    else:
        now.delete()


def _present(comment: Comment) -> Comment:
    lock(comment.feature_id)
    now = Comment.objects.filter(pk=comment.pk).first()
    if now is None or now.deleted:
        raise Gone("comment")
    if now.hidden:
        raise InvalidInput("text", "A curator hid this comment; it cannot be changed.")
    return now
