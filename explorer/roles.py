"""Changes of roles, and suspensions. Each reweighs the user's labels and votes, and is recorded in
the moderation log.
"""

from django.db import transaction
from django.db.models.functions import Now

from explorer.access import weight
from explorer.models import User
from features.services import moderation as moderation_services


@transaction.atomic
def suspend(member: User, *, by: User, reason: str = "") -> None:
    """Take the right to write from a user, and the weight from their labels and votes. A second
    time changes nothing.
    """
    if User.objects.filter(pk=member.pk, suspended=None).update(suspended=Now()):
        _recount(member, "suspend", by, reason)


@transaction.atomic
def unsuspend(member: User, *, by: User, reason: str = "") -> None:
    """Undo a suspension: labels and votes weigh as before."""
    if User.objects.filter(pk=member.pk, suspended__isnull=False).update(suspended=None):
        _recount(member, "unsuspend", by, reason)


@transaction.atomic
def make_curator(member: User, curator: bool, *, by: User, reason: str = "") -> None:
    if User.objects.filter(pk=member.pk, curator=not curator).update(curator=curator):
        _recount(member, "role", by, reason or ("made a curator" if curator else "made a member"))


@transaction.atomic
def recount_after_save(member: User, old_weight: int, *, by: User) -> None:
    """Reweigh the labels of a user that the admin saved, if the role changed."""
    if weight(member) != old_weight:
        _recount(member, "role", by, "on the admin pages")


def _recount(member: User, action: str, by: User, reason: str) -> None:
    member.refresh_from_db()
    features = moderation_services.reweigh(member, weight(member))
    moderation_services.note(
        action,
        member,
        by=by,
        reason=reason,
        details={"weight": weight(member), "features": features},
    )
