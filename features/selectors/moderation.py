"""What curators see: open reports, hidden labels and comments, and the log."""

from typing import Any

from django.db.models import Q, QuerySet

from features.models import Comment, Flag, Label, Moderation


def open_flags() -> QuerySet[Flag]:
    """Open reports, oldest first, with their label or comment."""
    of = (
        "label__feature__sae__model",
        "label__author",
        "comment__feature__sae__model",
        "comment__author",
    )
    return Flag.objects.filter(decided=None).select_related("by", *of).order_by("id")


def hidden_labels() -> QuerySet[Label]:
    """Labels that are hidden or merged, the latest first."""
    rows = Label.objects.filter(~Q(state=Label.State.SHOWN))
    return rows.select_related("feature__sae__model", "author", "merged_into").order_by(
        "-updated", "-id"
    )


def hidden_comments() -> QuerySet[Comment]:
    """Comments that a curator hid, the latest first."""
    return (
        Comment.objects.filter(hidden=True)
        .select_related("feature__sae__model", "author")
        .order_by("-id")
    )


def trail(**of: Any) -> QuerySet[Moderation]:
    """Moderation log, latest first."""
    rows = Moderation.objects.filter(**of).select_related(
        "by", "label__feature__sae__model", "comment", "user"
    )
    return rows.order_by("-id")
