"""The labels of a feature with their evidence and comments, and one label with its history."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from django.db.models import (
    Exists,
    F,
    OuterRef,
    Prefetch,
    QuerySet,
    Subquery,
    Value,
    prefetch_related_objects,
)
from django.db.models.fields import SmallIntegerField
from django.db.models.functions import Coalesce

from features.models import Comment, Feature, Label, LabelRevision, LabelScore, Vote
from features.selectors import feature_page_sql

MAX_DEPTH = 6
"""Levels of nested replies."""


class Thread(NamedTuple):
    """A comment and its replies, oldest first."""

    comment: Comment
    replies: "list[Thread]"


class FeatureLabels(NamedTuple):
    """The labels of a feature's page: its consensus label, all shown labels (best first), hidden
    ones, and the comments.

    Each label has `mine`, the visitor's vote for its current text (0 for none), and `shown_scores`
    of that text.
    """

    consensus: Label | None
    labels: list[Label]
    others: list[Label]
    thread: list[Thread]


def of_feature(
    feature: Feature, visitor: int | None = None, *, hidden: bool = False
) -> FeatureLabels:
    """The labels and comments of a feature, in two queries and at most two more: scores where it
    has a label, and history where one was edited. With `hidden`, labels that are not shown too.
    """
    rows = feature_page_sql.labels(feature.pk, visitor, hidden=hidden)
    labels = [label for label in rows if label.state == Label.State.SHOWN]
    for label in labels:
        label.feature = feature
    consensus = next((label for label in labels if label.pk == feature.label_id), None)
    others = [label for label in rows if label.state != Label.State.SHOWN]
    _add_scores(feature, labels)
    prefetch_related_objects([label for label in labels if label.version > 1], history())
    return FeatureLabels(consensus, labels, others, comment_thread(feature))


def _add_scores(feature: Feature, labels: Iterable[Label]) -> None:
    """Give the labels of a feature `shown_scores`, as `with_evidence` does."""
    by_id = {label.pk: label for label in labels}
    for label in by_id.values():
        label.shown_scores = []  # type: ignore[attr-defined]
    for score in feature_page_sql.scores(feature.pk) if by_id else []:
        if score.label_id in by_id:
            by_id[score.label_id].shown_scores.append(score)  # type: ignore[attr-defined]


def with_evidence(rows: QuerySet[Label], visitor: int | None = None) -> Any:
    """Labels as `with_votes` has them, with the scores of their present texts, and history."""
    scores = LabelScore.objects.filter(version=F("label__version"))
    return with_votes(rows, visitor).prefetch_related(
        Prefetch("scores", scores, "shown_scores"), history()
    )


def with_votes(rows: QuerySet[Label], visitor: int | None) -> Any:
    """Labels, best first, with author, `mine` (the vote of `visitor` for the present text) and
    `voted_before` (on an earlier one)."""
    own = Vote.objects.filter(
        label=OuterRef("pk"), user=visitor, version=OuterRef("version")
    ).values("value")
    mine = Coalesce(Subquery(own), 0) if visitor else Value(0, SmallIntegerField())
    before = Vote.objects.filter(
        label=OuterRef("pk"), user=visitor, version__lt=OuterRef("version")
    )
    return (
        rows.select_related("author", "merged_into", "upload")
        .annotate(mine=mine, voted_before=Exists(before) if visitor else Value(False))
        .order_by("-support", F("score").desc(nulls_last=True), "id")
    )


def history() -> Prefetch[Any]:
    """The texts of labels, oldest first, with their authors."""
    return Prefetch("revisions", LabelRevision.objects.select_related("by"), "history")


def label_with_history(pk: int, visitor: int | None = None) -> Label:
    """One label with its feature, evidence, history and every vote. Raises `Label.DoesNotExist`."""
    rows = with_evidence(Label.objects.select_related("feature__sae__model", "job"), visitor)
    label: Label = rows.prefetch_related(
        Prefetch("votes", Vote.objects.select_related("user").order_by("at"))
    ).get(pk=pk)
    return label


def list_labels(*, method: str = "", author: str = "", **of: Any) -> Any:
    """Shown labels, of the model, SAE and index that `of` names, with evidence."""
    rows = with_evidence(Label.objects.shown()).select_related("feature__sae__model", "author")
    rows = rows.filter(**_of_feature(of))
    if method:
        rows = rows.filter(method=method)
    return rows.filter(author__username=author) if author else rows


def visible_label(pk: int) -> Label:
    """One label that is shown, with its evidence and history. Raises `Label.DoesNotExist`."""
    label: Label = list_labels().get(pk=pk)
    return label


def comments(*, label: int = 0, author: str = "", **of: Any) -> QuerySet[Comment]:
    """Comments that are shown, of the model, SAE and index that `of` names."""
    rows = Comment.objects.filter(hidden=False, deleted=False, **_of_feature(of))
    if label:
        rows = rows.filter(label=label)
    if author:
        rows = rows.filter(author__username=author)
    return rows.select_related("feature__sae__model", "author")


def _of_feature(of: dict[str, Any]) -> dict[str, Any]:
    paths = {
        "model": "feature__sae__model__slug",
        "sae": "feature__sae__slug",
        "index": "feature__index",
    }
    return {paths[name]: value for name, value in of.items()}


def comment_thread(feature: Feature) -> list[Thread]:
    """The comments of a feature, in one query. Hidden ones stay in the thread; the page omits their
    text.
    """
    return build_threads(feature_page_sql.comments(feature.pk))


def build_threads(rows: Iterable[Comment]) -> list[Thread]:
    """Nest comments, which come in order of their ids, below what they reply to.

    Replies deeper than `MAX_DEPTH` become siblings: there is no room for them on the page, and
    nested includes take a template's stack.
    """
    top: list[Thread] = []
    entries: dict[int, tuple[Thread, list[Thread], int]] = {}  # thread, its siblings, its depth
    for row in rows:
        thread = Thread(row, [])
        parent = entries.get(row.parent_id or 0)
        siblings, depth = (top, 1) if parent is None else (parent[0].replies, parent[2] + 1)
        if parent is not None and parent[2] >= MAX_DEPTH:
            siblings, depth = parent[1], parent[2]
        siblings.append(thread)
        entries[row.pk] = (thread, siblings, depth)
    return top
