"""Comments on features and labels, reports of them, and actions of moderators."""

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from features.models.feature import Feature
from features.models.label import Label

LONGEST_COMMENT = 5000


class Comment(models.Model):
    """A comment on a feature, or on one of its labels if `label` is set."""

    feature = models.ForeignKey(Feature, models.CASCADE, related_name="comments")
    label = models.ForeignKey(Label, models.CASCADE, null=True, related_name="comments")
    parent = models.ForeignKey(
        "self",
        models.CASCADE,
        null=True,
        related_name="replies",
        help_text="The comment it replies to.",
    )
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="comments"
    )
    text = models.CharField(max_length=LONGEST_COMMENT)
    hidden = models.BooleanField(db_default=False, default=False)
    deleted = models.BooleanField(
        db_default=False,
        default=False,
        help_text="Deleted by its author; replies stay below it.",
    )
    created = models.DateTimeField(db_default=Now())
    edited = models.DateTimeField(null=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(condition=~models.Q(text=""), name="a_comment_has_words")
        ]

    def __str__(self) -> str:
        return self.text[:50]


class Flag(models.Model):
    """A report of a label or a comment, open until a curator has decided."""

    label = models.ForeignKey(Label, models.CASCADE, null=True, related_name="flags")
    comment = models.ForeignKey(Comment, models.CASCADE, null=True, related_name="flags")
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="flags"
    )
    reason = models.CharField(max_length=500)
    created = models.DateTimeField(db_default=Now())
    decided = models.DateTimeField(null=True)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+"
    )

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(label__isnull=False) ^ models.Q(comment__isnull=False),
                name="a_flag_is_of_one_thing",
            ),
            models.UniqueConstraint(
                fields=["label", "by"],
                condition=models.Q(decided__isnull=True),
                name="label_flagged_once",
            ),
            models.UniqueConstraint(
                fields=["comment", "by"],
                condition=models.Q(decided__isnull=True),
                name="comment_flagged_once",
            ),
        ]

    def __str__(self) -> str:
        return self.reason[:50]


class Moderation(models.Model):
    """One action of a moderator. Append-only: this is the audit log."""

    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    action = models.CharField(
        max_length=30, help_text="hide, restore, merge, dismiss, suspend, unsuspend, role."
    )
    label = models.ForeignKey(Label, models.SET_NULL, null=True, related_name="+")
    comment = models.ForeignKey(Comment, models.SET_NULL, null=True, related_name="+")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    reason = models.CharField(max_length=500, blank=True, db_default="", default="")
    details = models.JSONField(default=dict, help_text="The text at that time.")
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "moderation"

    def __str__(self) -> str:
        return f"{self.action} by {self.by}"
