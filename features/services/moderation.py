"""Actions of moderators: hide, restore, merge, dismiss, suspend. Each adds a row to the log."""

from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from features.models import Comment, Flag, Label, Moderation, Vote
from features.records import InvalidInput
from features.services.consensus import recompute
from features.services.labels import Gone, lock, present
from features.text_cleaning import clean_lines, one_line

LONGEST_REASON = 500
Target = Label | Comment


@transaction.atomic
def flag(target: Target, reason: str, *, by: Any) -> Flag:
    """Report a label or comment to the curators. A second report by the same person replaces it."""
    why = clean_lines(reason, LONGEST_REASON)
    now = _locked(target)
    of: dict[str, Any] = {"label": now} if isinstance(now, Label) else {"comment": now}
    found, _ = Flag.objects.update_or_create(**of, by=by, decided=None, defaults={"reason": why})
    return found


@transaction.atomic
def hide(target: Target, *, by: Any, reason: str = "") -> None:
    """Hide a label or comment, and close its reports. Hiding twice changes nothing.

    An author withdraws a label in the same way, so that the votes of others are not lost.
    """
    now = _locked(target)
    own = now.author_id == by.pk
    if isinstance(now, Label):
        if now.state != Label.State.SHOWN:
            _decide(now, by)  # it may have been reported since
            return
        Label.objects.filter(pk=now.pk).update(state=Label.State.HIDDEN, updated=Now())
        recompute([now.feature_id])
    elif now.hidden:
        _decide(now, by)
        return
    else:
        Comment.objects.filter(pk=now.pk).update(hidden=True)
    note("withdraw" if own else "hide", now, by=by, reason=reason)
    _decide(now, by)


@transaction.atomic
def restore(target: Target, *, by: Any, reason: str = "") -> None:
    """Show a hidden or merged label or comment again, and move back the votes of a merge. Raises
    `InvalidInput` if a new label has its text.
    """
    now = _locked(target)
    if isinstance(now, Comment):
        changed = Comment.objects.filter(pk=now.pk, hidden=True).update(hidden=False)
    else:
        changed = _show(now)
        recompute([now.feature_id])
    if changed:
        note("restore", now, by=by, reason=reason)


def _show(label: Label) -> int:
    if label.state == Label.State.SHOWN:
        return 0
    merger = Moderation.objects.filter(label=label, action="merge").first()
    if label.state == Label.State.MERGED and merger is not None:
        taken = Vote.objects.filter(label=label.merged_into_id, user__in=merger.details["votes"])
        taken.filter(at__lte=merger.at).delete()
    try:
        with transaction.atomic():
            return Label.objects.filter(pk=label.pk).update(
                state=Label.State.SHOWN, merged_into=None, updated=Now()
            )
    except IntegrityError:
        raise InvalidInput(
            "", "Another label of this feature now says the same; merge them instead."
        ) from None


@transaction.atomic
def merge(label: Label, into: Label, *, by: Any, reason: str = "") -> None:
    """Merge a label into another that means the same: its supporters vote for the other.

    People who have voted on the other keep that vote. Votes against are not moved: they were about
    another text.
    """
    if label.pk == into.pk or label.feature_id != into.feature_id:
        raise InvalidInput("into", "Choose another label of the same feature.")
    now, kept = present(label), present(into)
    known = {*Vote.objects.filter(label=kept).values_list("user", flat=True), kept.author_id}
    voters = Vote.objects.filter(label=now, version=now.version, value=1).values_list(
        "user", "weight"
    )
    stand = {
        user: weight
        for user, weight in [(now.author_id, now.weight), *voters]
        if user and user not in known
    }
    Vote.objects.bulk_create(
        Vote(label=kept, user_id=user, value=1, version=kept.version, weight=weight, at=Now())
        for user, weight in stand.items()
    )
    Label.objects.filter(pk=now.pk).update(
        state=Label.State.MERGED, merged_into=kept, updated=Now()
    )
    recompute([now.feature_id])
    note(
        "merge",
        now,
        by=by,
        reason=reason,
        details={"into": kept.pk, "said": kept.text, "votes": [*stand]},
    )
    _decide(now, by)


@transaction.atomic
def dismiss(flag: Flag, *, by: Any, reason: str = "") -> None:
    """Close all open reports of a label or comment without changing it."""
    target = flag.label or flag.comment
    assert target is not None  # a_flag_is_of_one_thing
    if _decide(target, by):
        note("dismiss", target, by=by, reason=reason, details={"reported": flag.reason})


@transaction.atomic
def reweigh(person: Any, weight: int) -> int:
    """Give the labels and votes of a person another weight. Returns the number of features.

    Features are locked first, as in everything that writes labels.
    """
    mine, given = (
        Label.objects.filter(author=person, method=Label.PERSON),
        Vote.objects.filter(user=person),
    )
    recompute(_features(mine, given))
    mine.update(weight=weight)
    given.update(weight=weight)
    touched = _features(mine, given)
    recompute(touched)
    return len(touched)


def _features(labels: QuerySet[Label], votes: QuerySet[Vote]) -> set[int]:
    return {
        *labels.values_list("feature", flat=True),
        *votes.values_list("label__feature", flat=True),
    }


def note(
    action: str, target: Any, *, by: Any, reason: str = "", details: dict[str, Any] | None = None
) -> Moderation:
    """Add a row to the log: who did what to which label, comment or person, with its text."""
    of = {Label: "label", Comment: "comment"}.get(type(target), "user")
    words = {} if of == "user" else {"text": target.text}
    return Moderation.objects.create(
        by=by,
        action=action,
        **{of: target},
        reason=one_line(reason)[:LONGEST_REASON],
        details=words | (details or {}),
    )


def _decide(target: Target, by: Any) -> int:
    return target.flags.filter(decided=None).update(decided=Now(), decided_by=by)


def _locked(target: Target) -> Target:
    lock(target.feature_id)
    now = type(target).objects.filter(pk=target.pk).first()
    if now is None or (isinstance(now, Comment) and now.deleted):
        raise Gone("label" if isinstance(target, Label) else "comment")
    return now
